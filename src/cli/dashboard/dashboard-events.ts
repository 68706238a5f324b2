import type { Clock } from '../../base/clock.ts'
import { errorText } from '../../base/errors.ts'
import { oneLine } from '../../base/printable.ts'
import { backoffMs } from '../../base/retry.ts'
import { RpcError } from '../../rpc/rpc-error.ts'
import { comparedRunsMax } from '../../web/lines.ts'
import type { FleetState, RunEventView } from '../../web/model.ts'
import { endOfLog } from '../../web/run-log-end.ts'
import type { ControlClient } from '../connect.ts'
import { explainRpcError } from '../rpc-sentences.ts'
import { findRunNodes } from '../run-nodes.ts'
import type { FleetFeed } from './fleet-feed.ts'
import type { FindStream } from './page-server.ts'
import { runNodesState } from './run-nodes-state.ts'
import { eventView } from './views.ts'

type RunClient = Pick<ControlClient, 'streamRunEvents' | 'streamLogs' | 'showRunNodes'>

/** Events are sent to the page together when there are so many, or after this time. */
const eventsPerPart = 500
const gatherMs = 100
/** After news of the run, its nodes are looked at, but not more often than this. */
const nodesEveryMs = 1000

/**
 * The streams of the page: `/api/fleet`, `/api/runs/ID` with the events of a run from its start, `…/log` with its log, and
 * `/api/curves/ID,ID` with the events of several runs.
 */
export function dashboardEvents(
  feed: Pick<FleetFeed, 'subscribe'>,
  { client, clock }: { client: RunClient; clock: Clock },
): FindStream {
  return (path) => {
    if (path === '/api/fleet') return (send, signal) => followFleet(feed, send, signal)
    const [, compared] = /^\/api\/curves\/(\d{1,20}(?:,\d{1,20})*)$/.exec(path) ?? []
    const runIds = [...new Set(compared?.split(','))].map(BigInt)
    if (runIds.length > comparedRunsMax) return undefined
    if (runIds.length > 0) return (send, signal) => followCurves(client, clock, { runIds, send, signal })
    const [, id, log] = /^\/api\/runs\/(\d{1,20})(\/log)?$/.exec(path) ?? []
    if (id === undefined) return undefined
    const follow = log === undefined ? followRun : followLog
    return (send, signal) => follow(client, clock, { runId: BigInt(id), send, signal })
  }
}

/** Sends nothing while nothing but the time has changed. */
async function followFleet(
  feed: Pick<FleetFeed, 'subscribe'>,
  send: (name: string, data: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = ''
  const end = feed.subscribe((state: FleetState) => {
    const { at, ...rest } = state
    const text = JSON.stringify(rest)
    send(text === last ? 'time' : 'fleet', text === last ? { at } : state)
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
async function followRun(client: RunClient, clock: Clock, following: Following): Promise<void> {
  const { runId, send, signal } = following
  const showNodes = async (): Promise<void> => {
    try {
      const nodes = await findRunNodes(client, runId)
      if (nodes && !signal.aborted) send('nodes', runNodesState(nodes))
    } catch {
      // If the SuperLink does not respond, the events say so.
    }
  }
  const onNews = repeatable(showNodes, () => clock.sleep(nodesEveryMs, signal))
  await followEvents(client, clock, following, { onNews, onEnd: showNodes })
}

/** Sends the events of each run, with its id. */
async function followCurves(
  client: RunClient,
  clock: Clock,
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
  await Promise.all(runIds.map((runId) => followEvents(client, clock, { runId, send: sendOf(runId), signal }, {})))
}

async function followEvents(
  client: RunClient,
  clock: Clock,
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
  await untilEnd(clock, following, async () => {
    try {
      for await (const { taskEvent } of client.streamRunEvents({ runId, afterTaskEventId }, { signal })) {
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
async function followLog(client: RunClient, clock: Clock, following: Following): Promise<void> {
  const { runId, send, signal } = following
  let afterTimestamp = 0
  await untilEnd(clock, following, async () => {
    for await (const part of client.streamLogs({ runId, afterTimestamp }, { signal })) {
      afterTimestamp = part.latestTimestamp
      send('log', endOfLog(part.logOutput).split('\n').map(oneLine).join('\n'))
    }
  })
}

/** Follows from where it was when the SuperLink goes away in between. Reports the end to the page, and each problem. */
async function untilEnd(clock: Clock, { send, signal }: Following, follow: () => Promise<void>): Promise<void> {
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
      send('problem', { sentence: oneLine(errorText(explainRpcError(error))) })
      if (!(error instanceof RpcError) || !error.retryable) return
      await clock.sleep(pauses.next().value ?? 5000, signal).catch(() => {})
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
