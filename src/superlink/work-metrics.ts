import { stat } from 'node:fs/promises'
import type { Metrics } from '../base/metrics.ts'
import type { Database } from '../db/database.ts'
import * as taskStore from '../tasks/task-store.ts'
import * as openMessages from './delivery/open-messages.ts'
import * as nodeStore from './nodes/node-store.ts'
import { type RunObserver, unobserved } from './runs/progress.ts'

const replyBuckets = [0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600]
const roundBuckets = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600]
const commitBuckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]

const openStatuses = ['pending', 'starting', 'running'] as const
const messageStates = ['waiting', 'at-node'] as const

/**
 * What a SuperLink reports of its work. Events are counted when they happen; a read looks at open runs, online nodes and
 * messages without a reply, which have indexes of their own, and never at a table that grows with each run.
 */
export class WorkMetrics {
  readonly observer: RunObserver
  /** To be called after each commit. */
  readonly onCommit: (seconds: number, waiting: number) => void
  readonly #metrics: Metrics
  readonly #gauges: ReturnType<typeof createGauges>
  #queueLength = 0

  constructor(metrics: Metrics) {
    this.#metrics = metrics
    this.#gauges = createGauges(metrics)
    const { finished, replies, rounds, bytes, commits } = createCounts(metrics)
    this.observer = {
      ...unobserved,
      replied: (seconds, result) => replies.observe({ result }, seconds),
      roundEnded: (seconds) => rounds.observe(seconds),
      finished: (result) => finished.inc({ result: result || 'stopped' }),
      moved(sent, received) {
        bytes.inc({ direction: 'sent' }, sent)
        bytes.inc({ direction: 'received' }, received)
      },
    }
    this.onCommit = (seconds, waiting) => {
      this.#queueLength = waiting
      commits.observe(seconds)
    }
  }

  /** Lets read how many runs, nodes and messages there are now, and how large the database is. */
  watch(db: Pick<Database, 'read'>, { path, clock }: { path: string | undefined; clock: { now(): number } }): void {
    const { runs, nodes, messages, oldest, queue, size } = this.#gauges
    this.#metrics.onRead(async () => {
      const counts = await taskStore.countOpen(db.read, 'flwr-serverapp')
      for (const status of openStatuses) runs.set({ status }, counts.get(status) ?? 0)
      nodes.set(await nodeStore.countOnline(db.read))
      const open = await openMessages.count(db.read)
      for (const state of messageStates) {
        const { count, oldestAt } = open[state]
        messages.set({ state }, count)
        oldest.set({ state }, oldestAt === undefined ? 0 : Math.max(0, clock.now() - oldestAt) / 1000)
      }
      queue.set(this.#queueLength)
      if (path === undefined) return
      size.set({ file: 'database' }, await sizeOf(path))
      size.set({ file: 'wal' }, await sizeOf(`${path}-wal`))
    })
  }
}

function createGauges(metrics: Metrics) {
  const age = 'Age of the oldest message without a reply'
  return {
    runs: metrics.gauge('trellis_runs', 'Runs that have not finished', ['status']),
    nodes: metrics.gauge('trellis_nodes_online', 'SuperNodes that are online', []),
    messages: metrics.gauge('trellis_messages', 'Messages to nodes without a reply', ['state']),
    oldest: metrics.gauge('trellis_message_oldest_seconds', age, ['state']),
    queue: metrics.gauge('trellis_database_queue', 'Transactions that wait for their turn', []),
    size: metrics.gauge('trellis_database_bytes', 'Size of the files of the database', ['file']),
  }
}

function createCounts(metrics: Metrics) {
  const moved = 'Bytes of messages and objects moved for runs'
  return {
    finished: metrics.counter('trellis_runs_finished_total', 'Runs that have finished', ['result']),
    replies: metrics.histogram('trellis_reply_seconds', 'Seconds from the delivery of a message until its reply', {
      labelNames: ['result'],
      buckets: replyBuckets,
    }),
    rounds: metrics.histogram('trellis_round_seconds', 'Seconds of a round', { labelNames: [], buckets: roundBuckets }),
    bytes: metrics.counter('trellis_run_bytes_total', moved, ['direction']),
    commits: metrics.histogram('trellis_database_commit_seconds', 'Seconds of a commit to the database', {
      labelNames: [],
      buckets: commitBuckets,
    }),
  }
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0
}
