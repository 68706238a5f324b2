import type { NodeId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { VirtualRun } from './virtual-runs.ts'

/** What the ClientApps of simulations print, as lines of the logs of their runs. */
export class NodeLog {
  readonly #bytes = new WeakMap<VirtualRun, number>()

  /**
   * Returns what a ClientApp has printed as lines that begin with the partition of its node; a fragment at the end becomes a
   * whole line too. Once the run has had its share of the log: one line that says so, and then none.
   */
  linesOf(run: VirtualRun, nodeId: NodeId, logs: readonly string[]): string[] {
    const before = this.#bytes.get(run) ?? 0
    if (before > limits.simulatedNodesLogBytesMax) return []
    const partition = run.partitions.get(nodeId) ?? 0
    const text = logs.join('').replace(/\n$/, '')
    const lines = text.split('\n').map((line) => `[partition ${partition}] ${line}\n`)
    const bytes = before + lines.reduce((sum, line) => sum + Buffer.byteLength(line), 0)
    this.#bytes.set(run, bytes)
    if (bytes <= limits.simulatedNodesLogBytesMax) return lines
    return [`[What ClientApps print ends here: it is longer than ${limits.simulatedNodesLogBytesMax} bytes]\n`]
  }
}
