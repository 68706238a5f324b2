import type { Clock } from '../base/clock.ts'
import { oneLine } from '../base/printable.ts'
import { backoffMs } from '../base/retry.ts'
import type { Control } from '../gen/flwr/proto/control_pb.ts'
import type { Client } from '../rpc/channel.ts'
import { comparedRunsMax } from '../web/lines.ts'
import type { FleetState, RunEventView } from '../web/model.ts'
import { endOfLog } from '../web/run-log-end.ts'
import type { FleetFeed } from './fleet-feed.ts'
import { type Follow, JsonText } from './open-streams.ts'
import { runNodesState } from './run-nodes-state.ts'
import { eventView } from './views.ts'

type RunClient = Pick<Client<typeof Control>, 'streamRunEvents' | 'streamLogs' | 'showRunNodes'>

/** Where the streams come from. */
export interface RunSource {
  readonly client: RunClient
  readonly clock: Clock
  /** Returns why a call failed, as a sentence for the user. */
  readonly explain: (error: unknown) => string
  /** Whether the same call may succeed soon, without any change. */
  readonly isRetryable: (error: unknown) => boolean
}

/** Events are sent to the page together when there are so many, or after this time. */
const eventsPerPart = 500
const gatherMs = 100
/** After news of the run, its nodes are looked at, but not more often than this. */
const nodesEveryMs = 1000
/** A call that was refused is made again after this time. */
const refusedPauseMs = 60_000

/**
 * The streams of the page: `/api/fleet`, `/api/runs/ID` with the events of a run from its start, `…/log` with its log, and
 * `/api/curves/ID,ID` with the events of several runs.
 */
export function dashboardEvents(
  feed: Pick<FleetFeed, 'subscribe'>,
  source: RunSource,
): (path: string) => Follow | undefined {
  return (path) => {
    if (path === '/api/fleet') return (send, signal) => followFleet(feed, send, signal)
    const [, compared] = /^\/api\/curves\/(\d{1,20}(?:,\d{1,20})*)$/.exec(path) ?? []
    const runIds = [...new Set(compared?.split(','))].map(BigInt)
    if (runIds.length > comparedRunsMax) return undefined
    if (runIds.length > 0) return (send, signal) => followCurves(source, { runIds, send, signal })
    const [, id, log] = /^\/api\/runs\/(\d{1,20})(\/log)?$/.exec(path) ?? []
    if (id === undefined) return undefined
    const follow = log === undefined ? followRun : followLog
    return (send, signal) => follow(source, { runId: BigInt(id), send, signal })
  }
}

/** A large fleet takes a while to write as JSON: all streams of a look share it. */
const texts = new WeakMap<FleetState, string>()

/** The state without its time. */
function textOf(state: FleetState): string {
  const known = texts.get(state)
  if (known !== undefined) return known
  const { at: _, ...rest } = state
  const text = JSON.stringify(rest)
  texts.set(state, text)
  return text
}

/** Sends the time alone while nothing else has changed. */
async function followFleet(
  feed: Pick<FleetFeed, 'subscribe'>,
  send: (name: string, data: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = ''
  const end = feed.subscribe((state: FleetState) => {
    const text = textOf(state)
    if (text === last) send('time', { at: state.at })
    else send('fleet', new JsonText(`${text.slice(0, -1)},"at":${JSON.stringify(state.at)}}`))
    last = text
  })
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  end()
}

interface Following {
  readonly runId: bigint
  readonly send: (name: string, data: unknown) => void
  readonly signal: AbortSignal
}

/** Sends the events of a run, and its nodes after news, until it has ended. */
async function followRun(source: RunSource, following: Following): Promise<void> {
  const { client, clock } = source
  const { runId, send, signal } = following
  const showNodes = async (): Promise<void> => {
    try {
      const nodes = await client.showRunNodes({ runId })
      if (!signal.aborted) send('nodes', runNodesState(nodes))
    } catch {
      // SuperLinks of Flower do not have this. If the SuperLink does not respond, the events say so.
    }
  }
  const onNews = repeatable(showNodes, () => clock.sleep(nodesEveryMs, signal))
  await followEvents(source, following, { onNews, onEnd: showNodes })
}

/** Sends the events of each run, with its id. */
async function followCurves(
  source: RunSource,
  { runIds, send, signal }: Pick<Following, 'send' | 'signal'> & { runIds: readonly bigint[] },
): Promise<void> {
  let left = runIds.length
  const sendOf = (runId: bigint): Following['send'] => {
    return (name, data) => {
      if (name === 'events') send(name, { run: runId.toString(), events: data })
      else if (name === 'end') left -= 1
      else send(name, data)
      if (left === 0) send('end', {})
    }
  }
  await Promise.all(runIds.map((runId) => followEvents(source, { runId, send: sendOf(runId), signal }, {})))
}

async function followEvents(
  source: RunSource,
  following: Following,
  { onNews, onEnd }: { onNews?: () => void; onEnd?: () => Promise<void> },
): Promise<void> {
  const { runId, send, signal } = following
  let afterTaskEventId = 0n
  let gathered: RunEventView[] = []
  const flush = (): void => {
    if (gathered.length > 0) send('events', gathered)
    gathered = []
  }
  using _timer = setInterval(flush, gatherMs)
  await untilEnd(source, following, async () => {
    try {
      for await (const { taskEvent } of source.client.streamRunEvents({ runId, afterTaskEventId }, { signal })) {
        if (!taskEvent) continue
        afterTaskEventId = taskEvent.id
        gathered.push(eventView(taskEvent))
        onNews?.()
        if (gathered.length >= eventsPerPart) flush()
      }
      await onEnd?.()
    } finally {
      flush()
    }
  })
}

/** Sends the end of the log of a run, without what could steer a terminal, until it has ended. */
async function followLog(source: RunSource, following: Following): Promise<void> {
  const { runId, send, signal } = following
  let afterTimestamp = 0
  await untilEnd(source, following, async () => {
    for await (const part of source.client.streamLogs({ runId, afterTimestamp }, { signal })) {
      afterTimestamp = part.latestTimestamp
      send('log', endOfLog(part.logOutput).split('\n').map(oneLine).join('\n'))
    }
  })
}

/** Follows from where it was when the SuperLink goes away in between. Reports the end to the page, and each problem. */
async function untilEnd(
  { clock, explain, isRetryable }: RunSource,
  { send, signal }: Following,
  follow: () => Promise<void>,
): Promise<void> {
  const pauses = backoffMs()
  while (!signal.aborted) {
    try {
      await follow()
      send('end', {})
      // The page leaves when it knows that nothing more will come.
      await clock.sleep(60_000, signal).catch(() => {})
      return
    } catch (error) {
      if (signal.aborted) return
      send('problem', { sentence: oneLine(explain(error)) })
      // A browser whose stream ends would ask again at once.
      const pauseMs = isRetryable(error) ? (pauses.next().value ?? 5000) : refusedPauseMs
      await clock.sleep(pauseMs, signal).catch(() => {})
    }
  }
}

/** Returns a function that does the work, one at a time, with a pause after each; calls meanwhile are one more. */
function repeatable(work: () => Promise<void>, pause: () => Promise<void>): () => void {
  let isWanted = false
  let isBusy = false
  const run = async (): Promise<void> => {
    isBusy = true
    while (isWanted) {
      isWanted = false
      await work()
      await pause().catch(() => {})
    }
    isBusy = false
  }
  return () => {
    isWanted = true
    if (!isBusy) void run()
  }
}
