import type { Clock } from '../../base/clock.ts'
import { errorText } from '../../base/errors.ts'
import { oneLine } from '../../base/printable.ts'
import { backoffMs } from '../../base/retry.ts'
import { RpcError } from '../../rpc/rpc-error.ts'
import type { FleetState, RunEventView } from '../../web/model.ts'
import type { ControlClient } from '../connect.ts'
import { explainRpcError } from '../rpc-sentences.ts'
import { findRunNodes } from '../run-nodes.ts'
import type { FleetFeed } from './fleet-feed.ts'
import type { FindStream } from './page-server.ts'
import { runNodesState } from './run-nodes-state.ts'
import { eventView } from './views.ts'

type RunClient = Pick<ControlClient, 'streamRunEvents' | 'showRunNodes'>

/** Events are sent to the page together when there are so many, or after this time. */
const eventsPerPart = 500
const gatherMs = 100
/** After news of the run, its nodes are looked at, but not more often than this. */
const nodesEveryMs = 1000

/** The streams of the page: `/api/fleet`, and `/api/runs/ID` with the events of a run from its start. */
export function dashboardEvents(
  feed: Pick<FleetFeed, 'subscribe'>,
  { client, clock }: { client: RunClient; clock: Clock },
): FindStream {
  return (path) => {
    if (path === '/api/fleet') return (send, signal) => followFleet(feed, send, signal)
    const [, id] = /^\/api\/runs\/(\d{1,20})$/.exec(path) ?? []
    if (id === undefined) return undefined
    return (send, signal) => followEvents(client, clock, { runId: BigInt(id), send, signal })
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

/** Follows until the run has ended; follows again from where it was if the SuperLink goes away in between. */
async function followEvents(
  client: RunClient,
  clock: Clock,
  { runId, send, signal }: { runId: bigint; send: (name: string, data: unknown) => void; signal: AbortSignal },
): Promise<void> {
  let afterTaskEventId = 0n
  const pauses = backoffMs()
  let gathered: RunEventView[] = []
  const flush = (): void => {
    if (gathered.length > 0) send('events', gathered)
    gathered = []
  }
  const showNodes = async (): Promise<void> => {
    // If the SuperLink does not respond, the events say so.
    const nodes = await findRunNodes(client, runId).catch(() => undefined)
    if (nodes && !signal.aborted) send('nodes', runNodesState(nodes))
  }
  const news = repeatable(showNodes, () => clock.sleep(nodesEveryMs, signal))
  const timer = setInterval(flush, gatherMs)
  try {
    while (!signal.aborted) {
      try {
        for await (const { taskEvent } of client.streamRunEvents({ runId, afterTaskEventId }, { signal })) {
          if (!taskEvent) continue
          afterTaskEventId = taskEvent.id
          gathered.push(eventView(taskEvent))
          news()
          if (gathered.length >= eventsPerPart) flush()
        }
        flush()
        await showNodes()
        send('end', {})
        // The page leaves when it knows that nothing more will come.
        await clock.sleep(60_000, signal).catch(() => {})
        return
      } catch (error) {
        if (signal.aborted) return
        flush()
        send('problem', { sentence: oneLine(errorText(explainRpcError(error))) })
        if (!(error instanceof RpcError) || !error.retryable) return
        await clock.sleep(pauses.next().value ?? 5000, signal).catch(() => {})
      }
    }
  } finally {
    clearInterval(timer)
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
