import type { RunId } from '../../base/ids.ts'
import { errorCodes, type MessageError } from '../../message/message.ts'

/** Errors of replies which say that the node could not load the app. */
const loadErrors: readonly number[] = [errorCodes.loadClientAppException, errorCodes.invalidFab]
/** So Flower from 1.41 on reports that a module of the app, or one that it imports, could not be loaded. */
const importError = /^<class '(?:ModuleNotFoundError|ImportError|SyntaxError|IndentationError)'>/

function isLoadError({ code, reason }: MessageError): boolean {
  return loadErrors.includes(code) || (code === errorCodes.clientAppRaisedException && importError.test(reason))
}

/** Errors which say nothing about the app: the message did not reach it in time. */
const silentErrors: readonly number[] = [errorCodes.messageUnavailable, errorCodes.nodeUnavailable]

/**
 * Remembers for each run whether any node could load its app. In memory, from the start of a run: a run that began before
 * this SuperLink was started is not judged, because a node may have loaded the app earlier.
 */
export class AppLoads {
  readonly #runs = new Map<RunId, { isLoaded: boolean; failure: string | undefined }>()

  started(runId: RunId): void {
    this.#runs.set(runId, { isLoaded: false, failure: undefined })
  }

  replied(runId: RunId, error: MessageError | undefined): void {
    const run = this.#runs.get(runId)
    if (!run || (error && silentErrors.includes(error.code))) return
    if (error && isLoadError(error)) run.failure ??= error.reason
    else run.isLoaded = true
  }

  /** The reason of the first node, if the app was sent to nodes and none of them could load it. */
  findFailure(runId: RunId): string | undefined {
    const run = this.#runs.get(runId)
    return run?.isLoaded ? undefined : run?.failure
  }

  forget(runId: RunId): void {
    this.#runs.delete(runId)
  }
}
