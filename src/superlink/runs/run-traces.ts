import type { Traces } from '../../base/traces.ts'
import type { Task } from '../../tasks/task.ts'
import { traceTask } from '../../tasks/task-trace.ts'
import type { RunObserver } from './progress.ts'

/** The trace of a run: the run, its rounds, and in them the messages from when they were sent until their reply. */
export function traceRuns(traces: Traces): Pick<RunObserver, 'worked' | 'roundTraced'> & { ended(task: Task): void } {
  if (!traces.isOn) return { worked() {}, roundTraced() {}, ended() {} }
  return {
    worked(runId, { nodeId, messageId, label, askedAt, fetchedAt, repliedAt, failed }) {
      const round = /^round (\d+) /.exec(label)?.[1]
      traces.record({
        name: `message ${label.replace(/^round \d+ /, '')}`.trim(),
        runId,
        key: `message ${messageId}`,
        parent: round === undefined ? `run ${runId}` : `round ${Number(round)} of ${runId}`,
        startedAt: askedAt,
        endedAt: repliedAt,
        attributes: {
          'trellis.node': String(nodeId),
          ...(fetchedAt === undefined ? {} : { 'trellis.waited_ms': Math.round(fetchedAt - askedAt) }),
        },
        fault: failed ? 'the reply is an error' : undefined,
      })
    },
    roundTraced(runId, { round, startedAt, endedAt }) {
      const key = `round ${round} of ${runId}` as const
      traces.record({ name: `round ${round}`, runId, key, parent: `run ${runId}`, startedAt, endedAt, attributes: {} })
    },
    ended(task) {
      const { runId, taskId, type, subStatus, details, pendingAt, runningAt, finishedAt = pendingAt } = task
      // The ClientApps of a simulation run here too.
      if (type !== 'flwr-serverapp') return traceTask(traces, task)
      const key = `run ${runId}` as const
      const attributes = { 'trellis.result': subStatus }
      const fault = subStatus === 'failed' ? details : undefined
      traces.record({ name: 'run', runId, key, startedAt: pendingAt, endedAt: finishedAt, attributes, fault })
      if (runningAt === undefined) return
      const app = { name: 'ServerApp', runId, key: `task ${taskId} of ${runId}` as const, parent: key }
      traces.record({ ...app, startedAt: runningAt, endedAt: finishedAt, attributes: {}, fault })
    },
  }
}
