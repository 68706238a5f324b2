import { systemClock } from '../base/clock.ts'
import { backoffMs } from '../base/retry.ts'
import { RpcError } from '../rpc/channel.ts'
import type { ControlClient } from './connect.ts'
import { LiveLine } from './live-line.ts'
import { isMilestone, noProgress, progressText, type RunProgress, withEvent } from './progress.ts'
import { durationText } from './units.ts'

/** How long a SuperLink may be away before the follower gives up. */
const patienceMs = 10 * 60_000

/**
 * Prints the log of a run as it comes, with a live line of its progress on a terminal and a line at each milestone
 * elsewhere. Resolves when the run has ended, or when the signal was aborted.
 */
export async function followRun(
  client: ControlClient,
  runId: bigint,
  options: { signal: AbortSignal; progress: boolean; stream?: NodeJS.WriteStream },
): Promise<void> {
  const { signal, stream = process.stdout } = options
  const startedAt = performance.now()
  let progress = noProgress
  const statusLine = (): string =>
    [progressText(progress) || 'waiting for the ServerApp', durationText((performance.now() - startedAt) / 1000)].join(
      ' · ',
    )
  const ended = new AbortController()
  const following = AbortSignal.any([signal, ended.signal])
  using line = new LiveLine(stream, options.progress ? statusLine : () => '')
  const notice = (text: string): void => line.write(`${text}\n`)
  const onProgress = (now: RunProgress): void => {
    if (!line.isLive && isMilestone(progress, now)) notice(`>> ${progressText(now)}`)
    progress = now
  }
  const events = options.progress ? followProgress(client, runId, following, onProgress) : Promise.resolve()
  try {
    await followLog(client, runId, signal, (text) => line.write(text), notice)
  } finally {
    ended.abort()
    await events
  }
}

async function followLog(
  client: ControlClient,
  runId: bigint,
  signal: AbortSignal,
  write: (text: string) => void,
  notice: (text: string) => void,
): Promise<void> {
  let afterTimestamp = 0
  await keepFollowing(signal, notice, async () => {
    for await (const part of client.streamLogs({ runId, afterTimestamp }, { signal })) {
      write(part.logOutput)
      afterTimestamp = part.latestTimestamp
    }
  })
}

/** Progress only informs: a SuperLink that does not tell it, or stops telling it, is no error. */
async function followProgress(
  client: ControlClient,
  runId: bigint,
  signal: AbortSignal,
  onProgress: (progress: RunProgress) => void,
): Promise<void> {
  let progress = noProgress
  let afterTaskEventId = 0n
  await keepFollowing(
    signal,
    () => {},
    async () => {
      for await (const { taskEvent } of client.streamRunEvents({ runId, afterTaskEventId }, { signal })) {
        if (!taskEvent) continue
        afterTaskEventId = taskEvent.id
        progress = withEvent(progress, taskEvent)
        onProgress(progress)
      }
    },
  ).catch(() => {})
}

/** Starts a broken stream again from where it was, and says what it waits for. */
async function keepFollowing(
  signal: AbortSignal,
  notice: (text: string) => void,
  follow: () => Promise<void>,
): Promise<void> {
  let pauses = backoffMs()
  let brokenSince: number | undefined
  for (;;) {
    const startedAt = performance.now()
    try {
      return await follow()
    } catch (error) {
      if (signal.aborted) return
      if (!(error instanceof RpcError) || !(error.retryable || error.status === 'deadline-exceeded')) throw error
      // It had worked in between: this is a new outage.
      if (performance.now() - startedAt > 5000) {
        brokenSince = undefined
        pauses = backoffMs()
      }
      if (brokenSince === undefined) notice(`Waiting for the SuperLink: ${error.message}`)
      brokenSince ??= performance.now()
      if (performance.now() - brokenSince > patienceMs) throw error
      await systemClock.sleep(pauses.next().value, signal).catch(() => {})
    }
  }
}
