import type { TaskApi } from '../app-api/task-api.ts'
import { systemClock } from '../base/clock.ts'

const intervalMs = 20_000

/**
 * Sends heartbeats for the task of this process, unless a SuperExec of Trellis does so. Servers that can hold a call respond
 * when the task ends, so that a stop takes effect at once. Calls `onEnded` when the server has ended the task.
 */
export function startHeartbeats(api: TaskApi, onEnded: () => void): Disposable {
  const stop = new AbortController()
  const beat = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const { success, waited } = await api.sendHeartbeat({ waitMs: intervalMs })
      if (!success) return onEnded()
      if (!waited) await systemClock.sleep(intervalMs, stop.signal)
    }
  }
  beat().catch(() => {
    if (!stop.signal.aborted) onEnded()
  })
  return { [Symbol.dispose]: () => stop.abort() }
}
