import { AppChannel, type TaskToken } from '../app-api/app-channel.ts'
import type { LastWords } from '../app-api/last-words.ts'

/** A task that this process shall run. */
export interface AssignedTask {
  readonly token: string
  /** Leaves with the SuperExec what it shall say if this process dies; absent if it would say nothing. */
  readonly leaveLastWords: ((words: LastWords) => Promise<void>) | undefined
  /** `TRACEPARENT` of the app; absent if its SuperExec sends no traces. */
  readonly traceParent?: string | undefined
}

/**
 * Yields the tasks that this process shall run: the one it was started for, or those that its SuperExec assigns over the
 * channel, one after the other. Ends with the signal, and when the SuperExec is gone.
 */
export async function* assignedTasks(fixed: string | undefined, signal: AbortSignal): AsyncGenerator<AssignedTask> {
  if (fixed !== undefined) {
    yield { token: fixed, leaveLastWords: undefined }
    return
  }
  const queue: TaskToken[] = []
  let wake = (): void => {}
  let open = true
  const end = (): void => {
    open = false
    wake()
  }
  const channel = new AppChannel({
    onToken: (token) => {
      queue.push(token)
      wake()
    },
    onClose: end,
  })
  signal.addEventListener('abort', end, { once: true })
  try {
    for (;;) {
      const next = queue.shift()
      if (next) {
        const leaveLastWords = next.wantsLastWords ? (words: LastWords) => channel.leave(words) : undefined
        yield { token: next.token, leaveLastWords, traceParent: next.traceParent }
        // The task is over: the SuperExec may assign the next.
        channel.sayIdle()
      } else if (open) await new Promise<void>((resolve) => (wake = resolve))
      else return
    }
  } finally {
    channel.close()
  }
}
