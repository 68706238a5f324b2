/** What is needed to begin a task. */
export interface TaskToken {
  readonly token: string
  /** The parent would speak for this process if it died. */
  readonly wantsLastWords: boolean
}

/**
 * The tokens of the tasks that this process shall run: the one it was started with, or those that the parent sends over
 * the channel between the processes, one after the other. Ends when the parent is gone.
 */
export async function* taskTokens(fixed: string | undefined, signal: AbortSignal): AsyncGenerator<TaskToken> {
  if (fixed !== undefined) {
    yield { token: fixed, wantsLastWords: false }
    return
  }
  const queue: TaskToken[] = []
  let wake = (): void => {}
  let open = true
  process.on('message', ({ token, wantsLastWords }: { token?: unknown; wantsLastWords?: unknown }) => {
    if (typeof token === 'string') queue.push({ token, wantsLastWords: wantsLastWords === true })
    wake()
  })
  const end = (): void => {
    open = false
    wake()
  }
  process.once('disconnect', end)
  signal.addEventListener('abort', end, { once: true })
  for (;;) {
    const token = queue.shift()
    if (token !== undefined) {
      yield token
      // The task is over: the parent may send the next.
      if (process.connected) process.send?.({ idle: true })
    } else if (open) await new Promise<void>((resolve) => (wake = resolve))
    else return
  }
}
