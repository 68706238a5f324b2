import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, mock, test } from 'node:test'
import type { Context } from '../../src/message/context.ts'
import { Message } from '../../src/message/message.ts'
import { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../src/message/records.ts'
import type { ConfigInput } from '../../src/message/value.ts'
import { ClientApp, type ClientFn } from '../../src/sdk/client-app.ts'
import { InMemoryGrid } from '../../src/sdk/in-memory-grid.ts'
import { secureAggregation } from '../../src/sdk/mods/secure-aggregation.ts'
import { SecureAggregation } from '../../src/sdk/secure-aggregation/secure-aggregation.ts'
import { FedAvg } from '../../src/sdk/strategy/fed-avg.ts'
import { pythonOf, withoutReleases } from '../harness/python-flower.ts'

/** Nodes with the mod in Python and nodes with the mod in TypeScript in one round, without a SuperLink between them. */

type Told = { readonly error: string } | { readonly records: readonly [string, Described][] }
type Described = { config: Record<string, Value> } | { arrays: Record<string, Npy> }
type Value = string | number | { hex: string } | readonly Value[]
interface Npy {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly stype: string
  readonly data: string
}

/** One process of Python that plays all nodes in that language. */
class PythonNodes implements AsyncDisposable {
  readonly #process = spawn(pythonOf('1.29'), [join(import.meta.dirname, 'python/secagg-nodes.py')], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  readonly #lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]()
  #last: Promise<unknown> = Promise.resolve()

  handle: ClientFn = (message, context) => {
    const answer = this.#last.then(() => this.#ask(message, context))
    this.#last = answer
    return answer
  }

  async #ask(message: Message, { nodeId }: Context): Promise<Message> {
    const records = [...message.content].map(([name, record]) => [
      name,
      described(record as ArrayRecord | ConfigRecord),
    ])
    this.#process.stdin.write(`${JSON.stringify({ node: String(nodeId), records })}\n`)
    const { value } = await this.#lines.next()
    const told = JSON.parse(value as string) as Told
    if ('error' in told) return message.replyError({ code: 6, reason: told.error })
    return message.reply(new RecordDict(told.records.map(([name, record]) => [name, recordOf(record)] as const)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve))
    this.#process.stdin.end()
    await ended
  }
}

function described(record: ArrayRecord | ConfigRecord): Described {
  if (record instanceof ConfigRecord)
    return { config: Object.fromEntries([...record].map(([key, value]) => [key, written(value)])) }
  return {
    arrays: Object.fromEntries(
      [...record].map(([name, { dtype, shape, stype, data }]) => [
        name,
        { dtype, shape, stype, data: Buffer.from(data).toString('hex') },
      ]),
    ),
  }
}

function written(value: unknown): Value {
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString('hex') }
  if (Array.isArray(value)) return value.map(written)
  return typeof value === 'bigint' ? Number(value) : (value as Value)
}

function recordOf(record: Described): ArrayRecord | ConfigRecord {
  if ('config' in record)
    return new ConfigRecord(Object.entries(record.config).map(([key, value]) => [key, read(value) as ConfigInput]))
  return new ArrayRecord(
    Object.entries(record.arrays).map(
      ([name, array]) => [name, new NdArray({ ...array, data: Buffer.from(array.data, 'hex') })] as const,
    ),
  )
}

function read(value: Value): unknown {
  if (Array.isArray(value)) return value.map(read)
  return typeof value === 'object' && 'hex' in value ? Uint8Array.from(Buffer.from(value.hex, 'hex')) : value
}

const own = new ClientApp({ mods: [secureAggregation()] }).train((message) => {
  const model = message.content.arrays('arrays')
  const arrays = new ArrayRecord(
    [...model].map(([name, array]) => [name, NdArray.from(array.values() as Float64Array, array.shape)] as const),
  )
  const metrics = new MetricRecord({ 'num-examples': 10, loss: 4, pair: [5, 7] })
  return message.reply(new RecordDict({ arrays, metrics }))
})

describe('beside nodes in Python', { skip: withoutReleases('1.29') }, () => {
  let python: PythonNodes
  before(() => {
    python = new PythonNodes()
  })
  after(() => python[Symbol.asyncDispose]())

  test('nodes in both languages unmask the updates of each other, also if one of each is lost', async () => {
    const lines: string[] = []
    mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
    const stageOf = (message: Message): string => message.content.config('secure-aggregation').getString('stage')
    const losing =
      (next: ClientFn): ClientFn =>
      async (message, context) => {
        const reply = await next(message, context)
        return stageOf(message) === 'masked' ? message.replyError({ code: 5, reason: 'lost' }) : reply
      }
    const ofTypescript: ClientFn = (message, context) => own.handle(message, context)
    const nodes = [
      ...[ofTypescript, python.handle, ofTypescript, python.handle, losing(ofTypescript), losing(python.handle)],
    ].map((handle) => {
      const app = new ClientApp()
      app.handle = async (message, context) => handle(message, context)
      return { app }
    })
    const model = new ArrayRecord({
      w: NdArray.from(new Float64Array([1, -1, 0.5, 0]), [2, 2]),
      empty: NdArray.from(new Float32Array(0)),
      one: NdArray.from(new Float32Array([1]), []),
    })
    const strategy = new SecureAggregation(new FedAvg({ fractionEvaluate: 0 }), { maxWeight: 100, bits: 28 })
    const { arrays, trainMetricsClientapp } = await strategy.start(new InMemoryGrid(nodes), model, { numRounds: 2 })
    // Python triples, and counts three times as much: each round multiplies by (1 + 3 * 3) / 4.
    const values = [...arrays.getArray('w').values('float64'), ...arrays.getArray('one').values('float32')]
    for (const [index, start] of [1, -1, 0.5, 0, 1].entries())
      assert.ok(Math.abs((values[index] as number) - start * 2.5 ** 2) < 1e-4, `${values}`)
    const metrics = trainMetricsClientapp.get(2) as MetricRecord
    assert.equal(metrics.getNumber('loss').toFixed(6), '2.500000')
    assert.deepEqual((metrics.get('pair') as number[]).map(Math.round), [2, 4])
    assert.equal(lines.filter((line) => line.includes('unmask: 4 of 4 nodes')).length, 2)
  })

  test('the mod in Python refuses with the reasons of ours', async () => {
    mock.method(process.stderr, 'write', () => true)
    const session = new Uint8Array(16).fill(7)
    const asked = (record: Record<string, ConfigInput>) => ({ 'secure-aggregation': new ConfigRecord(record) })
    const reasonsOf = async (handle: ClientFn): Promise<(string | undefined)[]> => {
      const context = { nodeId: 5n, state: new RecordDict() } as Context
      const reasons = []
      for (const records of [
        { arrays: new ArrayRecord() },
        asked({ stage: 'keys', session, threshold: 1 }),
        asked({ stage: 'keys', session, threshold: 2 }),
        asked({ stage: 'keys', session, threshold: 2 }),
        asked({ stage: 'masked', session }),
        asked({ stage: 'unmask', session: new Uint8Array(16), survivors: [], dropped: [] }),
        asked({ stage: 'shares', session, nodes: [], 'cipher-keys': [], 'mask-keys': [] }),
      ]) {
        const message = Message.create({ content: new RecordDict(records), messageType: 'train', dstNodeId: 5n })
        reasons.push((await handle(message, context)).error?.reason)
      }
      return reasons
    }
    const reasons = await reasonsOf(python.handle)
    assert.match(reasons[0] ?? '', /trains under secure aggregation only/)
    assert.equal(reasons[2], undefined)
    assert.deepEqual(reasons.slice(1), (await reasonsOf((message, context) => own.handle(message, context))).slice(1))
  })
})
