import { systemClock } from '../base/clock.ts'
import { errorText, UsageError } from '../base/errors.ts'
import { oneLine } from '../base/printable.ts'
import { backoffMs } from '../base/retry.ts'
import { eventView } from '../dashboard/views.ts'
import type { Run } from '../gen/flwr/proto/run_pb.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { pauseMsAfter } from '../rpc/server-wait.ts'
import { emptySeries, type RunSeries, withEvents } from '../web/run-series.ts'
import type { CliContext } from './command.ts'
import type { ControlClient, OpenControl } from './connect.ts'
import { LiveLines } from './live-lines.ts'
import { LogText } from './log-text.ts'
import { type Output, paint, showsColors } from './output.ts'
import { milestoneText, streamLines } from './progress.ts'
import { elapsedSeconds, runStyle, statusText } from './run-view.ts'

/** How long a SuperLink may be away before the follower gives up. */
const patienceMs = 10 * 60_000
/** A local one comes back with the next command, at another address. */
const localPatienceMs = 2000
/** How long the last events of a run are waited for. */
const lastEventsMs = 2000

export interface FollowOptions {
  /** If nothing can be redrawn: also print a line for facts that the log does not have, such as late nodes. */
  readonly milestones: boolean
  /** Writes nothing and only waits. */
  readonly silent?: boolean
}

/**
 * Prints the log of a run as it comes, with a live line of its progress on a terminal. Returns the run when it has ended,
 * `undefined` when the user left it; then the way back has been told.
 */
export async function followRun(
  context: CliContext,
  control: OpenControl,
  runId: bigint,
  output: Output,
  options: FollowOptions,
): Promise<Run | undefined> {
  const { client, connection, localLog } = control
  const follower = new Follower(context, client, runId, {
    ...options,
    patienceMs: localLog === undefined ? patienceMs : localPatienceMs,
  })
  const again = `flwr log ${runId} ${connection.name}`
  try {
    await using _ = await control.watchFiles()
    const run = await follower.follow()
    if (run) return run
  } catch (error) {
    if (!(error instanceof RpcError) || !error.retryable) throw error
    if (localLog !== undefined)
      throw new UsageError(
        `The local SuperLink has ended; its log: ${localLog}\nTo see what became of the run: ${again}`,
      )
    throw new UsageError(`${errorText(error)} The run may go on. To come back: ${again}`, { cause: error })
  }
  output.note(`\nThe run goes on. To come back: ${again}`)
  output.note(`To stop it: flwr stop ${runId} ${connection.name}`)
  return undefined
}

/** How a run ended: `Run 1 finished:failed: the reason`. */
export function endText(run: Run): string {
  const why = run.status?.details
  return `Run ${run.runId} ${paint(runStyle(run) ?? 'yellow', statusText(run))}${why ? `: ${oneLine(why)}` : ''}`
}

class Follower {
  readonly #client: ControlClient
  readonly #runId: bigint
  readonly #signal: AbortSignal
  readonly #options: FollowOptions & { readonly patienceMs: number }
  #startedAt = performance.now()
  #series = emptySeries()
  #waiting = false

  constructor(
    context: CliContext,
    client: ControlClient,
    runId: bigint,
    options: FollowOptions & { readonly patienceMs: number },
  ) {
    this.#signal = context.signal
    this.#client = client
    this.#runId = runId
    this.#options = options
  }

  async follow(): Promise<Run | undefined> {
    const { silent = false, milestones } = this.#options
    const out = silent ? ({ write: () => true, isTTY: false } as unknown as NodeJS.WriteStream) : process.stdout
    using line = new LiveLines(out, (columns) => this.#liveLines(columns))
    const ended = new AbortController()
    const events =
      line.isLive || (milestones && !silent)
        ? this.#followProgress(AbortSignal.any([this.#signal, ended.signal]), (before, now) => {
            const milestone = line.isLive ? '' : milestoneText(before, now)
            if (milestone !== '') line.write(`>> ${milestone}\n`)
          })
        : undefined
    try {
      const run = await this.#followLog(line)
      // The last events of a run may come after its log has ended.
      if (run) await Promise.race([events, systemClock.sleep(lastEventsMs, this.#signal).catch(() => {})])
      return run
    } finally {
      ended.abort()
      await events
    }
  }

  /** The log, until the SuperLink says that the run has finished. */
  async #followLog(line: LiveLines): Promise<Run | undefined> {
    const signal = this.#signal
    let afterTimestamp = 0
    const log = new LogText({ colors: showsColors(process.stdout) })
    const once = async (onAnswer: () => void): Promise<Run> => {
      const { runDict, now } = await this.#client.listRuns({ runId: this.#runId })
      onAnswer()
      const run = Object.values(runDict)[0]
      if (run) this.#startedAt = performance.now() - elapsedSeconds(run, now) * 1000
      for await (const part of this.#client.streamLogs({ runId: this.#runId, afterTimestamp }, { signal })) {
        line.write(log.add(part.logOutput))
        afterTimestamp = part.latestTimestamp
      }
      line.write(log.end())
      return this.#finished()
    }
    return keepFollowing(signal, this.#options.patienceMs, once, (sentence) => {
      this.#waiting = sentence !== undefined
      line.note(sentence === undefined ? 'The SuperLink is back.' : `Waiting for the SuperLink: ${sentence}`)
    })
  }

  /** A SuperLink that stops ends the stream too. */
  async #finished(): Promise<Run> {
    const { runDict } = await this.#client.listRuns({ runId: this.#runId })
    const run = Object.values(runDict)[0]
    if (run?.status?.status === 'finished') return run
    throw new RpcError('unavailable', 'The log ended before the run did.', { kind: 'unreachable' })
  }

  /** Progress only informs: a SuperLink that does not tell it, or stops telling it, is no error. */
  async #followProgress(signal: AbortSignal, onChange: (before: RunSeries, now: RunSeries) => void): Promise<void> {
    let afterTaskEventId = 0n
    const once = async (onAnswer: () => void): Promise<void> => {
      const request = { runId: this.#runId, afterTaskEventId }
      for await (const { taskEvent } of this.#client.streamRunEvents(request, { signal })) {
        onAnswer()
        if (!taskEvent) continue
        afterTaskEventId = taskEvent.id
        const before = this.#series
        this.#series = withEvents(before, [eventView(taskEvent)])
        onChange(before, this.#series)
      }
    }
    await keepFollowing(signal, this.#options.patienceMs, once, () => {}).catch(() => {})
  }

  #liveLines(columns: number): string[] {
    const elapsedSeconds = (performance.now() - this.#startedAt) / 1000
    return streamLines(this.#series, { elapsedSeconds, waits: this.#waiting, columns })
  }
}

/**
 * Follows again from where it was when the connection breaks, with growing pauses. `onOutage` is told why once an outage,
 * and `undefined` when it is over. Returns `undefined` if the signal was aborted.
 */
export async function keepFollowing<T>(
  signal: AbortSignal,
  patienceMs: number,
  follow: (onAnswer: () => void) => Promise<T>,
  onOutage: (sentence: string | undefined) => void,
): Promise<T | undefined> {
  let pauses = backoffMs()
  let brokenSince: number | undefined
  const onAnswer = (): void => {
    if (brokenSince === undefined) return
    brokenSince = undefined
    pauses = backoffMs()
    onOutage(undefined)
  }
  while (!signal.aborted) {
    try {
      return await follow(onAnswer)
    } catch (error) {
      if (signal.aborted) return undefined
      if (!(error instanceof RpcError) || !(error.retryable || error.status === 'deadline-exceeded')) throw error
      if (brokenSince === undefined) onOutage(error.message)
      brokenSince ??= performance.now()
      if (performance.now() - brokenSince > patienceMs) throw error
      await systemClock.sleep(pauseMsAfter(error, pauses), signal).catch(() => {})
    }
  }
  return undefined
}
