import assert from 'node:assert/strict'
import { beforeEach, mock, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { limits } from '../../base/limits.ts'
import { Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { ClientApp } from '../client-app.ts'
import { type HeldReply, heldInMemory, LostReplyError } from '../held-reply.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { FedAvg } from './fed-avg.ts'
import { collect, Replies } from './reply-stream.ts'
import type { Aggregate, TrainPhase } from './strategy.ts'
import { WeightedSum } from './weighted-sum.ts'

let lines: string[] = []
mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
beforeEach(() => {
  lines = []
})

const modelOf = (...values: number[]): ArrayRecord => new ArrayRecord({ w: NdArray.from(new Float32Array(values)) })
const valuesOf = (arrays: ArrayRecord | undefined): number[] => [...(arrays?.getArray('w').values('float32') ?? [])]
const questionTo = (dstNodeId: bigint): Message =>
  Message.create({ content: new RecordDict(), messageType: 'train', dstNodeId })
const replyOf = (node: number, value: number, examples = 1): Message =>
  questionTo(BigInt(node)).reply(
    new RecordDict({ arrays: modelOf(value), metrics: new MetricRecord({ 'num-examples': examples }) }),
  )

/** Counts how many of its replies are in memory. */
class Counting {
  loaded = 0
  most = 0
  readonly released: bigint[] = []
  hold(message: Message): HeldReply {
    return {
      ...heldInMemory(message),
      load: async () => {
        this.most = Math.max(this.most, ++this.loaded)
        return message
      },
      release: async () => void this.released.push(message.metadata.srcNodeId),
    }
  }
}

test('replies come in the order of their nodes, error replies too, and only a few are fetched before they are asked for', async () => {
  const counting = new Counting()
  const messages = Array.from({ length: 20 }, (_, index) => replyOf(50 - index, index))
  messages[3] = questionTo(47n).replyError({ code: 0, reason: 'no data' })
  const seen: [bigint, boolean][] = []
  for await (const reply of new Replies(messages.map((message) => counting.hold(message)))) {
    seen.push([reply.metadata.srcNodeId, reply.hasError()])
    counting.loaded -= 1
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 20 }, (_, index) => [BigInt(31 + index), index === 16]),
  )
  assert.ok(counting.most <= limits.repliesAhead, `${counting.most} replies were in memory`)
})

test('a mean of many replies holds a few of their pieces in memory beside its sum', async () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage: () => void = runInNewContext('gc')
  const replies = 30
  const { data, stype } = NdArray.from(new Float32Array(256 * 1024))
  const pieceBytes = 128 * 1024
  const count = Math.ceil(data.length / pieceBytes)
  const loaded: WeakRef<Uint8Array>[] = []
  let most = 0
  const load = async (index: number): Promise<Uint8Array> => {
    // A piece that a WeakRef was made of is kept until the end of the turn.
    await setImmediate()
    if (loaded.length % 16 === 0) {
      collectGarbage()
      most = Math.max(most, loaded.filter((piece) => piece.deref()).length)
    }
    const piece = data.slice(index * pieceBytes, (index + 1) * pieceBytes)
    loaded.push(new WeakRef(piece))
    return piece
  }
  const pieces = Array.from({ length: count }, (_, index) => ({
    ...{ name: 'w', stype, isFirst: index === 0, isLast: index === count - 1 },
    load: () => load(index),
  }))
  const held = Array.from({ length: replies }, (_, node) => ({
    ...heldInMemory(replyOf(node + 1, 0)),
    pieces: async () => pieces,
  }))
  const mean = await new Replies(held).weightedBy('num-examples').meanOfArrays()
  assert.equal(mean.getArray('w').values().length, 256 * 1024)
  assert.equal(loaded.length, replies * count)
  assert.ok(most > 0 && most <= 3 * limits.arrayPiecesAhead, `${most} pieces were in memory`)
})

test('a strategy adds weighted replies one after the other, with the bits of the mean of all', async () => {
  class RunningMean extends FedAvg {
    override async aggregateTrain({ replies }: TrainPhase): Promise<Aggregate> {
      const sum = new WeightedSum()
      for await (const { arrays, share } of replies.weightedBy('num-examples')) sum.add(arrays, share)
      return { arrays: sum.mean() }
    }
  }
  const messages = [replyOf(4, 0.1, 3), replyOf(2, 0.7, 5), replyOf(3, 1e-3, 11)]
  const phase = { round: 1, replies: Replies.of(messages), current: modelOf(0) }
  const [streamed, expected] = [await new RunningMean().aggregateTrain(phase), await new FedAvg().aggregateTrain(phase)]
  assert.deepEqual(streamed.arrays, expected.arrays)
  const shares = (await collect(phase.replies.weightedBy('num-examples'))).map(({ nodeId, share }) => [nodeId, share])
  assert.deepEqual(shares, [
    [2n, 5 / 19],
    [3n, 11 / 19],
    [4n, 3 / 19],
  ])
})

test('a wrapper changes each reply when it is fetched, and the model that was sent is at hand', async () => {
  class Halved extends FedAvg {
    override aggregateTrain(phase: TrainPhase): Promise<Aggregate> {
      const [base = 0] = valuesOf(phase.current)
      const replies = phase.replies.map((reply) => {
        const [value = 0] = valuesOf(reply.content.arrays('arrays'))
        return questionTo(reply.metadata.srcNodeId).reply(
          new RecordDict({ ...Object.fromEntries(reply.content), arrays: modelOf(base + (value - base) / 2) }),
        )
      })
      return super.aggregateTrain({ ...phase, replies })
    }
  }
  const replies = Replies.of([replyOf(2, 4), replyOf(3, 8), questionTo(4n).replyError({ code: 0, reason: 'gone' })])
  assert.deepEqual([replies.size, replies.failures], [3, 1])
  const { arrays } = await new Halved().aggregateTrain({ round: 1, replies, current: modelOf(2) })
  assert.deepEqual(valuesOf(arrays), [4])
  assert.ok(lines.includes('INFO :      aggregate_train: Received 2 results and 1 failures\n'))
})

test('a reply that is lost while it is fetched is left out, and the mean is that of the others', async () => {
  const counting = new Counting()
  class Losing extends InMemoryGrid {
    override async sendAndHold(messages: Iterable<Message>): Promise<HeldReply[]> {
      return (await this.sendAndReceive(messages)).map((message) => {
        const held = counting.hold(message)
        if (message.metadata.srcNodeId !== 3n) return held
        const lost = questionTo(3n).replyError({ code: 3, reason: 'its objects are gone' })
        return { ...held, load: async () => lost, pieces: () => Promise.reject(new LostReplyError(held, lost)) }
      })
    }
  }
  const train = (message: Message): Message => {
    const arrays = modelOf(Number(message.metadata.dstNodeId))
    return message.reply(new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': 1 }) }))
  }
  const app = new ClientApp().train(train)
  const grid = new Losing([{ app }, { app }, { app }])
  const result = await new FedAvg({ fractionEvaluate: 0 }).start(grid, modelOf(0), { numRounds: 1 })
  assert.deepEqual(valuesOf(result.arrays), [3])
  assert.ok(lines.includes('INFO :      aggregate_train: Received 2 results and 1 failures\n'))
  assert.ok(lines.some((line) => line.includes('> Received error in reply from node 3: its objects are gone')))
  assert.deepEqual(new Set(counting.released), new Set([2n, 4n]))
})
