/** After a refusal, which is the end of a stream for a browser. */
const pauseMs = 5000

interface Handlers {
  /** By the name of the event, with its data. */
  readonly on: Readonly<Record<string, (data: unknown) => void>>
  /** Called at each connection: the server starts from the beginning. */
  readonly onOpen?: () => void
  /** Called when there is no connection, with the reason if the server gave one. */
  readonly onLost?: (reason: string) => void
}

/**
 * Follows a stream of the page until its event `end`, or until the returned function is called. A browser connects again by
 * itself when the network fails, and gives up at a response that is not 200: then the reason is asked for, and the stream is
 * opened again later.
 */
export function followStream(path: string, handlers: Handlers): () => void {
  const { on, onOpen, onLost } = handlers
  const stop = new AbortController()
  let source: EventSource | undefined
  const open = (): void => {
    if (stop.signal.aborted) return
    const opened = new EventSource(path)
    source = opened
    opened.addEventListener('open', () => onOpen?.())
    for (const [name, receive] of Object.entries(on))
      opened.addEventListener(name, ({ data }: MessageEvent<string>) => receive(JSON.parse(data)))
    opened.addEventListener('error', () => {
      if (opened.readyState !== EventSource.CLOSED) return onLost?.('')
      void refusalOf(path, stop.signal).then((reason) => {
        if (stop.signal.aborted) return
        onLost?.(reason)
        setTimeout(open, pauseMs)
      })
    })
    opened.addEventListener('end', close)
  }
  const close = (): void => {
    stop.abort()
    source?.close()
  }
  open()
  return close
}

/** Returns why the server refuses a stream; empty if it does not, or does not respond. */
async function refusalOf(path: string, stop: AbortSignal): Promise<string> {
  const ended = new AbortController()
  const signal = AbortSignal.any([stop, ended.signal, AbortSignal.timeout(pauseMs)])
  try {
    const response = await fetch(path, { signal })
    if (response.ok) return ''
    // The token was changed, or the cookie is too old: the server shows where the token is entered, in place of the page.
    if (response.status === 403) await showEntrance(signal)
    return sentenceOf(await response.text())
  } catch {
    return ''
  } finally {
    ended.abort()
  }
}

async function showEntrance(signal: AbortSignal): Promise<void> {
  const response = await fetch('/', { signal })
  if (response.ok && (await response.text()).includes('action="/enter"')) location.reload()
}

/** A refused certificate has its reason in JSON. */
function sentenceOf(text: string): string {
  try {
    return String((JSON.parse(text) as { detail: unknown }).detail)
  } catch {
    return text.trim().slice(0, 300)
  }
}
