import { deflateMessage } from '../src/message/deflate.ts'
import { heldInMemory } from '../src/sdk/held-reply.ts'
import {
  ArrayRecord,
  ClientApp,
  FedAvg,
  type HeldReply,
  InMemoryGrid,
  type Message,
  MetricRecord,
  NdArray,
  RecordDict,
  SecureAggregation,
  secureAggregation,
} from '../src/sdk/index.ts'

/** One round of secure aggregation with a model of 1 MB, all in this process: what it costs a node and the server. */
const floats = 250_000

export interface SecureFigures {
  readonly what: string
  /** Processor time of one node, beyond a round without secure aggregation. */
  readonly nodeMs: number
  readonly serverMs: number
  readonly bytesToNode: number
  readonly bytesFromNode: number
}

/** Counts what is sent, and the processor time that nodes need. */
class MeasuredGrid extends InMemoryGrid {
  nodesMs = 0
  received = 0

  override async sendAndReceive(...args: Parameters<InMemoryGrid['sendAndReceive']>): Promise<Message[]> {
    const before = processorMs()
    const replies = await super.sendAndReceive(...args)
    this.nodesMs += processorMs() - before
    for (const reply of replies) if (reply.hasContent()) this.received += bytesOf(reply)
    return replies
  }

  override async sendAndHold(...args: Parameters<InMemoryGrid['sendAndHold']>): Promise<HeldReply[]> {
    return (await this.sendAndReceive(...args)).map(heldInMemory)
  }
}

export async function measureSecureAggregation(): Promise<SecureFigures[]> {
  return [await measure(10, 0), await measure(10, 1), await measure(100, 0), await measure(100, 10)]
}

async function measure(nodes: number, lost: number): Promise<SecureFigures> {
  const plain = await measured(nodes, 0, false)
  const secure = await measured(nodes, lost, true)
  return {
    what: `${nodes} nodes, ${lost} of them lost while they train`,
    nodeMs: (secure.grid.nodesMs - plain.grid.nodesMs) / nodes,
    serverMs: secure.totalMs - secure.grid.nodesMs - (plain.totalMs - plain.grid.nodesMs),
    bytesToNode: secure.grid.sent.reduce((sum, message) => sum + bytesOf(message), 0) / nodes,
    bytesFromNode: secure.grid.received / (nodes - lost),
  }
}

async function measured(nodes: number, lost: number, isSecure: boolean) {
  const grid = new MeasuredGrid(Array.from({ length: nodes }, (_, index) => ({ app: appOf(isSecure, index < lost) })))
  const inner = new FedAvg({ fractionEvaluate: 0, minTrainNodes: nodes })
  const strategy = isSecure ? new SecureAggregation(inner) : inner
  const before = processorMs()
  await strategy.start(grid, new ArrayRecord({ w: NdArray.from(new Float32Array(floats)) }), { numRounds: 1 })
  return { grid, totalMs: processorMs() - before }
}

function appOf(isSecure: boolean, isLost: boolean): ClientApp {
  return new ClientApp({ mods: isSecure ? [secureAggregation()] : [] }).train((message) => {
    if (isLost) throw new Error('lost')
    const arrays = message.content.arrays('arrays')
    return message.reply(new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': 500 }) }))
  })
}

function bytesOf(message: Message): number {
  const { objects } = deflateMessage(message, message.metadata)
  return [...objects.values()].reduce((sum, bytes) => sum + bytes().length, 0)
}

function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
