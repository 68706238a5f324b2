import type { Traces } from '../base/traces.ts'
import type { Task } from './task.ts'

/** Records what the ClientApp did, as a part of the message that it worked on. */
export function traceTask(
  traces: Traces,
  { runId, taskId, messageId, subStatus, details, pendingAt, runningAt, finishedAt }: Task,
): void {
  if (messageId === undefined || runningAt === undefined) return
  traces.record({
    name: 'ClientApp',
    runId,
    key: `task ${taskId} of ${runId}`,
    parent: `message ${messageId}`,
    startedAt: runningAt,
    endedAt: finishedAt ?? runningAt,
    attributes: { 'trellis.queued_ms': Math.round(runningAt - pendingAt) },
    fault: subStatus === 'failed' ? details : undefined,
  })
}
