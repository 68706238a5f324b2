import type { RunId } from '../../base/ids.ts'
import { shortened } from '../../base/printable.ts'
import { errorCodes, type MessageError } from '../../message/message.ts'
import { splitMessageType } from '../../message/message-type.ts'

/** Errors of replies which say that the node could not load the app. */
const loadErrors: readonly number[] = [errorCodes.loadClientAppException, errorCodes.invalidFab]
/** So Flower from 1.41 on reports that a module of the app, or one that it imports, could not be loaded. */
const importError = /^<class '(?:ModuleNotFoundError|ImportError|SyntaxError|IndentationError)'>/

function isLoadError({ code, reason }: MessageError): boolean {
  return loadErrors.includes(code) || (code === errorCodes.clientAppRaisedException && importError.test(reason))
}

/** Errors which say nothing about the app: the message did not reach it in time. */
const silentErrors: readonly number[] = [errorCodes.messageUnavailable, errorCodes.nodeUnavailable]

/** A reason that becomes part of a sentence about the run. */
const firstCharactersMax = 500

interface Outcomes {
  isLoaded: boolean
  loadFailure: string | undefined
  /** By category of the messages, such as `train`. */
  readonly errors: Map<string, { count: number; readonly first: string }>
  /** How many replies were no errors, by category too. */
  readonly answered: Map<string, number>
}

/**
 * Remembers for each run whether any node could load its app, and whether any training or evaluation succeeded. In memory, from
 * the start of a run: a run that began before this SuperLink was started is not judged, because it may have had good replies
 * earlier.
 */
export class ReplyOutcomes {
  readonly #runs = new Map<RunId, Outcomes>()

  started(runId: RunId): void {
    this.#runs.set(runId, { isLoaded: false, loadFailure: undefined, errors: new Map(), answered: new Map() })
  }

  /** `messageType` is the one of the message that this replies to. */
  replied(runId: RunId, messageType: string, error: MessageError | undefined): void {
    const run = this.#runs.get(runId)
    if (!run) return
    const { category } = splitMessageType(messageType)
    if (error) {
      const { count = 0, first = shortened(error.reason, firstCharactersMax) } = run.errors.get(category) ?? {}
      run.errors.set(category, { count: count + 1, first })
      if (silentErrors.includes(error.code)) return
    } else run.answered.set(category, (run.answered.get(category) ?? 0) + 1)
    if (error && isLoadError(error)) run.loadFailure ??= error.reason
    else run.isLoaded = true
  }

  /** A reply that was counted will not come after all. What it said of the app stands: its node could load it, or not. */
  withdrawn(runId: RunId, messageType: string, error: MessageError | undefined): void {
    const run = this.#runs.get(runId)
    if (!run) return
    const { category } = splitMessageType(messageType)
    const { count, first } = run.errors.get(category) ?? { count: 0, first: '' }
    if (!error) run.answered.set(category, Math.max(0, (run.answered.get(category) ?? 0) - 1))
    else if (count > 1) run.errors.set(category, { count: count - 1, first })
    else run.errors.delete(category)
  }

  /** Returns the reason of the first node, if the app was sent to nodes and none of them could load it. */
  findLoadFailure(runId: RunId): string | undefined {
    const run = this.#runs.get(runId)
    return run?.isLoaded ? undefined : run?.loadFailure
  }

  /** Returns a sentence with the first reason, if all replies to messages of one category, such as `train`, were errors. */
  findFruitless(runId: RunId): string | undefined {
    const { errors = new Map<string, never>(), answered = new Map<string, number>() } = this.#runs.get(runId) ?? {}
    const failed = [...errors].filter(([category]) => !answered.get(category))
    const [first] = failed
    if (!first) return undefined
    const count = failed.reduce((sum, [, one]) => sum + one.count, 0)
    const names = failed.map(([category]) => category).join(' and ')
    const replies =
      count === 1
        ? `The only reply to ${names} messages was an error`
        : `All ${count} replies to ${names} messages were errors, the first`
    return `${replies}: ${first[1].first}`
  }

  forget(runId: RunId): void {
    this.#runs.delete(runId)
  }
}
