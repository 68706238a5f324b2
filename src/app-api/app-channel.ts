import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { readJsonLines } from '../base/json-lines.ts'
import { limits } from '../base/limits.ts'
import { isLastWords, type LastWords } from './last-words.ts'

/**
 * The channel between a SuperExec and an app process of ours: lines of JSON over a pipe. What arrives at the SuperExec comes
 * from a process that runs code of an app, so it is checked, bounded, and ignored if it is not understood. Node's own
 * channel (`process.send`) is left to apps: a message over it has no limit and can end the process that receives it.
 */

/** Descriptor of the channel in the app process. */
const descriptor = 3

/** What is needed to begin a task. */
export interface TaskToken {
  readonly token: string
  /** The SuperExec reports the death of the app in the app's name. */
  readonly wantsLastWords: boolean
  /** `TRACEPARENT` of the app; absent if traces are off. */
  readonly traceParent?: string | undefined
}

export interface AppMessages {
  /** The process has finished its task and waits for the next. */
  onIdle(): void
  onLastWords(words: LastWords): void
  /** The app keeps sending what is not understood. */
  onFlood(): void
}

/** The SuperExec's end. */
export class LauncherChannel {
  readonly #pipe: Duplex
  #wantsLastWords = false
  #nonsense = 0

  constructor(pipe: Duplex, messages: AppMessages) {
    this.#pipe = pipe
    const ignore = (): void => {
      this.#nonsense += 1
      if (this.#nonsense === limits.appNonsenseMax) {
        pipe.destroy()
        messages.onFlood()
      }
    }
    readJsonLines(pipe, {
      lineBytesMax: () => (this.#wantsLastWords ? limits.lastWordsBytesMax : limits.appMessageBytesMax),
      onNonsense: ignore,
      onValue: (value) => {
        const message = recordOf(value)
        if (message.app === 'idle') messages.onIdle()
        else if (message.app === 'last-words' && this.#wantsLastWords && isLastWords(message.words))
          messages.onLastWords(message.words)
        else ignore()
      },
    })
  }

  get isOpen(): boolean {
    return this.#pipe.writable
  }

  /** A process that has ended already is reported when its end is seen. */
  send(token: TaskToken): void {
    this.#wantsLastWords = token.wantsLastWords
    writeLine(this.#pipe, token)
  }
}

/** The app's end. */
export class AppChannel {
  readonly #pipe: Duplex

  constructor(
    events: { onToken: (token: TaskToken) => void; onClose: () => void },
    pipe: Duplex = new Socket({ fd: descriptor, readable: true, writable: true }),
  ) {
    this.#pipe = pipe
    readJsonLines(pipe, {
      lineBytesMax: () => limits.appMessageBytesMax,
      onNonsense: () => {},
      onValue: (value) => {
        const { token, wantsLastWords, traceParent } = recordOf(value)
        if (typeof token !== 'string') return
        const trace = typeof traceParent === 'string' ? { traceParent } : {}
        events.onToken({ token, wantsLastWords: wantsLastWords === true, ...trace })
      },
    })
    pipe.once('close', events.onClose)
  }

  sayIdle(): void {
    writeLine(this.#pipe, { app: 'idle' })
  }

  /** Resolves when they are on their way, or when the SuperExec is gone. */
  leave(words: LastWords): Promise<void> {
    return new Promise((resolve) => writeLine(this.#pipe, { app: 'last-words', words }, resolve))
  }

  close(): void {
    this.#pipe.destroy()
  }
}

function writeLine(pipe: Duplex, message: unknown, onWritten = (): void => {}): void {
  if (pipe.writable) pipe.write(`${JSON.stringify(message)}\n`, () => onWritten())
  else onWritten()
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
