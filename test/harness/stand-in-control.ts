import { create } from '@bufbuild/protobuf'
import type { ControlClient } from '../../src/cli/connect.ts'
import {
  ListNodesResponseSchema,
  ListRunsResponseSchema,
  ShowRunNodesResponseSchema,
  ShowSecurityResponseSchema,
  StopRunResponseSchema,
  StreamLogsResponseSchema,
  StreamRunEventsResponseSchema,
} from '../../src/gen/flwr/proto/control_pb.ts'
import { NodeInfoSchema } from '../../src/gen/flwr/proto/node_pb.ts'
import { RunSchema } from '../../src/gen/flwr/proto/run_pb.ts'
import type { RpcError } from '../../src/rpc/rpc-error.ts'

const startedAt = Date.parse('2026-11-29T08:00:00Z')
/** Whole hours after the start, and half a minute, so that the time a page is open does not change what is left. */
const hoursLater = (hours: number): number => (startedAt + hours * 3_600_000 + 30_000) / 1000
const minutesLater = (minutes: number): string => new Date(startedAt + minutes * 60_000).toISOString()

interface StandInOptions {
  readonly nodes?: number
  readonly rounds?: number
  /** Whether some names hold HTML. */
  readonly markup?: boolean
  /** Their ids begin with 7. */
  readonly runs?: number
  /** How many of the nodes, the last ones, have a key instead of a certificate. */
  readonly keys?: number
  /** Of the first node. */
  readonly renewalFails?: boolean
}

/** Responses of a SuperLink with as many nodes, and one run that has done as many rounds. */
export class StandInControl {
  /** Why calls fail now. */
  refusal: RpcError | undefined
  waitingFor = ''
  readonly stopped: bigint[] = []
  readonly #nodes: number
  readonly #rounds: number
  readonly #named: (name: string, tag: string) => string

  readonly #runs: number
  readonly #keys: number
  readonly #renewalFails: boolean

  constructor({ nodes = 3, rounds = 0, markup = true, runs = 1, keys = 0, renewalFails = false }: StandInOptions = {}) {
    this.#named = (name, tag) => (markup ? `<${tag}>${name}</${tag}>` : name)
    this.#nodes = nodes
    this.#rounds = rounds
    this.#runs = runs
    this.#keys = keys
    this.#renewalFails = renewalFails
  }

  readonly client = {
    listNodes: async () => {
      this.#ensureServes()
      return create(ListNodesResponseSchema, { now: minutesLater(60), nodesInfo: this.#listNodes() })
    },
    listRuns: async () => {
      this.#ensureServes()
      return create(ListRunsResponseSchema, {
        now: minutesLater(60),
        runDict: Object.fromEntries(this.#runIds().map((id) => [String(id), this.#run(id)])),
      })
    },
    showSecurity: async () => {
      this.#ensureServes()
      return create(ShowSecurityResponseSchema, {
        now: minutesLater(60),
        certificates: [
          { kind: 'own', subject: 'CN=superlink', notAfter: hoursLater(100) },
          { kind: 'ca', subject: 'CN=Hospital CA', notAfter: hoursLater(1000) },
        ],
        revocationLists: [{ issuer: 'CN=Hospital CA', nextUpdate: hoursLater(3) }],
        refusals: [
          {
            reason: 'revoked-by-crl',
            count: 7,
            lastAt: minutesLater(50),
            sentence: 'The client certificate has been revoked: issue a new one.',
            identity: 'site-q',
            address: '10.8.0.7:4000',
          },
        ],
      })
    },
    showRunNodes: async () => {
      const at = startedAt / 1000
      const span = { phase: 3, label: 'round 40 train', askedAt: at }
      return create(ShowRunNodesResponseSchema, {
        nodes: [
          { nodeId: 1000n, name: 'node-0', replies: 3n, seconds: 9, lastSeconds: 2 },
          { nodeId: 1001n, name: 'node-1', replies: 2n, failures: 1n, seconds: 60, lastSeconds: 40 },
          { nodeId: 1002n, name: this.#named('node-2', 'i'), state: 'is offline since 2026-11-29 08:30:00Z' },
          { nodeId: 1003n, replies: 3n, seconds: 3, lastSeconds: 1 },
        ],
        spans: [
          { ...span, nodeId: 1003n, fetchedAt: at + 1, repliedAt: at + 2 },
          { ...span, nodeId: 1000n, fetchedAt: at + 1, repliedAt: at + 3 },
          { ...span, nodeId: 1001n, fetchedAt: at + 2, repliedAt: at + 42, failed: true },
          { ...span, nodeId: 1002n, repliedAt: at + 30, failed: true },
          { ...span, phase: 2, label: '', nodeId: 1000n, fetchedAt: at + 1, repliedAt: at + 4 },
        ],
      })
    },
    async *streamLogs(_request: unknown, options?: { signal?: AbortSignal }) {
      yield create(StreamLogsResponseSchema, {
        logOutput: 'INFO : Starting FedAvg\nWARNING : \x1b[2JNode 4 is late\nINFO : <b>half a',
        latestTimestamp: 1,
      })
      yield create(StreamLogsResponseSchema, { logOutput: ' line</b>\n', latestTimestamp: 2 })
      const { signal } = options ?? {}
      if (!signal?.aborted) await new Promise((resolve) => signal?.addEventListener('abort', resolve, { once: true }))
    },
    stopRun: async ({ runId }: { runId: bigint }) => {
      this.#ensureServes()
      this.stopped.push(runId)
      return create(StopRunResponseSchema, { success: true })
    },
    streamRunEvents: ({ runId }: { runId: bigint }, options?: { signal?: AbortSignal }) =>
      this.#events(runId, options?.signal),
  } as unknown as ControlClient

  #listNodes() {
    return Array.from({ length: this.#nodes }, (_, index) => {
      const offline = index === 1
      return create(NodeInfoSchema, {
        nodeId: 1000n + BigInt(index),
        status: offline ? 'offline' : 'online',
        identity: `node-${index}`,
        organization: index % 2 === 0 ? 'Hospital A' : this.#named('Hospital B', 'b'),
        ...(index >= this.#nodes - this.#keys
          ? { authMethod: 'key', name: `node-${index}` }
          : { authMethod: 'certificate', certificateNotAfter: hoursLater(index === 2 ? 5 : 48) }),
        renewalFailing: this.#renewalFails && index === 0,
        admission: 'open',
        registeredAt: minutesLater(0),
        lastActivatedAt: minutesLater(1),
        lastSeenAt: Date.parse(minutesLater(offline ? 30 : 59)) / 1000,
        release: index === 0 ? 'Flower 1.41.0' : 'Trellis 0.1.0',
        ...(index === 1 ? { lastReplySeconds: 42 } : {}),
        ...(offline ? { lastDeactivatedAt: minutesLater(30) } : {}),
      })
    })
  }

  #runIds(): bigint[] {
    return this.#rounds > 0 ? Array.from({ length: this.#runs }, (_, index) => BigInt(7 + index)) : []
  }

  #run(runId: bigint) {
    const waits =
      this.waitingFor === '' || runId !== 7n
        ? {}
        : { waitingFor: this.waitingFor, waitingSince: minutesLater(58), waitingRemedy: 'Look at its log.' }
    return create(RunSchema, {
      runId,
      fabId: 'hospital/pneumonia',
      fabVersion: '3.0.0',
      fabHash: 'ab12cd34',
      accountName: 'alice',
      organization: 'Coordinators',
      federation: '@none/default',
      overrideConfig: { 'learning-rate': { scalar: { case: 'double', value: 0.1 / Number(runId) } } },
      status: { status: 'running' },
      pendingAt: minutesLater(1),
      runningAt: minutesLater(2),
      bytesSent: 5_000_000n,
      bytesRecv: 2_000_000n,
      ...waits,
    })
  }

  async *#events(runId: bigint, signal: AbortSignal | undefined) {
    this.#ensureServes()
    const event = (id: number, name: string, data: object) =>
      create(StreamRunEventsResponseSchema, {
        taskEvent: { id: BigInt(id), timestamp: minutesLater(id / 60), event: name, data: JSON.stringify(data) },
      })
    for (let round = 1; round <= this.#rounds; round++)
      yield event(round, 'trellis.progress', {
        round,
        rounds: this.#rounds + 10,
        phase: 'train',
        metrics: { loss: (Number(runId) - 6) / round, accuracy: 1 - 1 / round },
      })
    yield event(this.#rounds, 'trellis.replies', { asked: 18, replied: 16, failed: 1 })
    if (!signal?.aborted) await new Promise((resolve) => signal?.addEventListener('abort', resolve, { once: true }))
  }

  #ensureServes(): void {
    if (this.refusal) throw this.refusal
  }
}
