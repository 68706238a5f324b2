import type { AcquiredTask } from '../app-api/task-source.ts'
import type { Clock } from '../base/clock.ts'
import { type Traces, traceParent } from '../base/traces.ts'

/**
 * Makes a task a part of the trace of its run: its app can continue the trace, and the time from its launch to its end is a span.
 * Servers of Flower 1.29 name no task: there is nothing to refer to.
 */
export function withTrace(task: AcquiredTask, traces: Traces, clock: Clock): AcquiredTask {
  const { taskId, runId, program } = task
  if (!traces.isOn || taskId === undefined) return task
  const key = `process of task ${taskId} of ${runId}` as const
  const startedAt = clock.now()
  let isOver = false
  const ended = (): void => {
    if (isOver) return
    isOver = true
    const about = { name: 'app process', runId, key, parent: `task ${taskId} of ${runId}` as const }
    traces.record({ ...about, startedAt, endedAt: clock.now(), attributes: { 'trellis.program': program } })
  }
  return { ...task, trace: { parent: traceParent(runId, key), ended } }
}
