import type { TaskApi } from '../app-api/task-api.ts'
import { systemClock } from '../base/clock.ts'

const intervalMs = 20_000

/**
 * Keeps the task of a process alive that was not started by a SuperExec of ours. A server that knows how holds each beat
 * until the task ends, so a stop is heard at once. Calls back when the server has ended the task.
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
