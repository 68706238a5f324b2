import type { IncomingMessage, ServerResponse } from 'node:http'
import { safeHeaders } from './safe-headers.ts'

/** Data of an event that is JSON already: streams that send the same share the text. */
export class JsonText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export type Send = (name: string, data: unknown) => void

/** A stream of server-sent events. It calls `send` for each event, and ends with the signal. */
export type Follow = (send: Send, signal: AbortSignal) => Promise<void>

/** What a tab may leave unread before its stream is closed: the browser opens it again and gets the newest state. */
const unreadBytesMax = 16 * 1024 * 1024

/** The streams of all tabs together, at most `max`. A tab has two. */
export class OpenStreams {
  readonly #max: number
  #count = 0

  constructor(max: number) {
    this.#max = max
  }

  /** Sends the events of a stream until its tab has gone or the signal is aborted. */
  serve(follow: Follow, response: ServerResponse, ...signals: readonly AbortSignal[]): void {
    const isFull = this.#count >= this.#max
    if (isFull) sendText(response, 503, 'Too many pages of this dashboard are open: close some.')
    // A response that waits for another over its connection is never told that the connection has closed.
    else if (!response.socket) sendText(response, 400, 'Ask for a stream after the response before it has ended.')
    else this.#open(follow, response, signals)
  }

  #open(follow: Follow, response: ServerResponse, signals: readonly AbortSignal[]): void {
    const gone = new AbortController()
    const signal = AbortSignal.any([gone.signal, ...signals])
    response.on('close', () => gone.abort())
    response.writeHead(200, { ...safeHeaders, 'content-type': 'text/event-stream' })
    response.flushHeaders()
    this.#count += 1
    const send: Send = (name, data) => {
      if (signal.aborted) return
      response.write(`event: ${name}\ndata: ${data instanceof JsonText ? data.text : JSON.stringify(data)}\n\n`)
      if (response.writableLength > unreadBytesMax) response.destroy()
    }
    void follow(send, signal)
      .catch(() => {})
      .finally(() => {
        this.#count -= 1
        response.end()
      })
  }
}

/** A page of another site cannot read a stream, but it could keep some open. */
export function isOwnSite({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site']
  return site === undefined || site === 'same-origin'
}

export function sendText(response: ServerResponse, status: number, sentence: string): void {
  response.writeHead(status, { ...safeHeaders, 'content-type': 'text/plain; charset=utf-8' }).end(`${sentence}\n`)
}
