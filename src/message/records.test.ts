import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { NdArray } from './nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from './records.ts'
import { type ConfigInput, float, type MetricInput } from './value.ts'

test('whole numbers are integers unless they are said to be floats', () => {
  const metrics = new MetricRecord({ count: 1, loss: float(1), rate: 0.5, zero: -0, huge: 2 ** 60, rates: [1, 0.5] })
  const floats = [...metrics.keys()].filter((key) => metrics.isFloat(key))
  assert.deepEqual(floats, ['loss', 'rate', 'zero', 'huge', 'rates'])
  assert.deepEqual(metrics.toObject(), { count: 1, loss: 1, rate: 0.5, zero: -0, huge: 2 ** 60, rates: [1, 0.5] })
})

test('integers beyond 2^53 come back whole, up to 64 bits', () => {
  const ends = { least: -(2n ** 63n), most: 2n ** 64n - 1n, odd: 2n ** 53n + 1n, list: [2n ** 64n - 1n, 1n] }
  assert.deepEqual(new ConfigRecord(ends).toObject(), { ...ends, list: [2n ** 64n - 1n, 1] })
  for (const value of [2n ** 64n, -(2n ** 63n) - 1n]) {
    assert.throws(() => new ConfigRecord({ value }), /does not fit into 64 bits/)
    assert.throws(() => new MetricRecord({ value: [value] }), /does not fit into 64 bits/)
  }
  assert.throws(() => new ConfigRecord({ value: [-1n, 2n ** 63n] }), /negative ones beside ones above/)
})

test('what a record cannot hold is refused when it is put in', () => {
  for (const value of [true, 'text', null, {}, undefined, [[1]], [true], ['a'], new Uint8Array()] as unknown[])
    assert.throws(() => new MetricRecord({ value: value as MetricInput }), TypeError)
  for (const value of [null, {}, undefined, [1, 'a'], [true, 1], [{}], Symbol('s')] as unknown[])
    assert.throws(() => new ConfigRecord({ value: value as ConfigInput }), TypeError)
  assert.throws(() => new ArrayRecord({ w: new Float32Array(1) as never }), /'w' is no NdArray/)
  assert.throws(() => new RecordDict({ m: { loss: 1 } as never }), /'m' is no ArrayRecord/)
})

test('lists of a record are not shared with the code that gave or took them', () => {
  const given = ['a', 'b']
  const config = new ConfigRecord({ names: given })
  given.push('c')
  ;(config.get('names') as string[]).push('d')
  assert.deepEqual(config.get('names'), ['a', 'b'])
})

test('a copy keeps kinds and goes its own way', () => {
  const original = new MetricRecord({ loss: float(1), n: 1 })
  const copy = original.copy().set('more', 1)
  assert.ok(copy.isFloat('loss') && !copy.isFloat('n'))
  assert.deepEqual([...original.keys()], ['loss', 'n'])
})

test('records keep the order in which they were filled', () => {
  const pairs = [
    ['10', 1],
    ['2', 2],
    ['a', 3],
    ['1', 4],
  ] as const
  assert.deepEqual([...new ConfigRecord(pairs)], pairs)
  assert.deepEqual([...ArrayRecord.fromList([new Int8Array(1), NdArray.from(new Int8Array(2))]).keys()], ['0', '1'])
})

test('a record prints as in Python', () => {
  const config = new ConfigRecord({ lr: float(1), n: 1, on: true, name: "it's", raw: new Uint8Array(3), xs: [1, 2.5] })
  const text = `{'lr': 1.0, 'n': 1, 'on': True, 'name': "it's", 'raw': <bytes>, 'xs': [1.0, 2.5]}`
  assert.equal(String(config), text)
  assert.equal(inspect(config), `ConfigRecord ${text}`)
  assert.equal(String(new MetricRecord({ 'a\nb\u200b"\'': Number.NaN })), `{'a\\nb\\u200b"\\'': nan}`)
})

test('reading what is not there says what is', () => {
  const content = new RecordDict({
    arrays: new ArrayRecord({ w: NdArray.from(new Int8Array(1)) }),
    m: new MetricRecord(),
  })
  assert.throws(() => content.arrays('model'), /There is no record 'model' among: arrays, m/)
  assert.throws(() => content.metrics('arrays'), /Record 'arrays' is a ArrayRecord, not a MetricRecord/)
  assert.throws(() => content.arrays('arrays').getArray('b'), /There is no array 'b' among: w/)
  assert.throws(() => content.metrics('m').getNumber('loss'), /no metric 'loss' among: none at all/)
  const config = new ConfigRecord({ n: 1, s: 's', b: true, raw: new Uint8Array([1]) })
  assert.deepEqual(
    [config.getNumber('n'), config.getString('s'), config.getBoolean('b'), config.getBytes('raw')],
    [1, 's', true, new Uint8Array([1])],
  )
  assert.deepEqual(
    [config.number('lr', 0.1), config.string('s', 'other'), config.boolean('off', false)],
    [0.1, 's', false],
  )
  assert.equal(new MetricRecord({ loss: 2 }).number('loss', 1) + new MetricRecord().number('loss', 1), 3)
  assert.throws(() => config.number('s', 1), /'s' is not a number/)
  assert.throws(() => config.number('lr'), /There is no config 'lr' among: n, s, b, raw/)
  assert.throws(() => config.getNumber('s'), /'s' is not a number/)
  assert.throws(() => config.getString('n'), /'n' is not a string/)
  assert.throws(() => config.getBoolean('n'), /'n' is not a boolean/)
  assert.throws(() => config.getBytes('n'), /'n' is not bytes/)
})

test('records of a kind are found by it', () => {
  const content = new RecordDict({
    a: new ArrayRecord(),
    m: new MetricRecord(),
    c: new ConfigRecord(),
    b: new ArrayRecord(),
  })
  assert.deepEqual([...content.arrayRecords.keys()], ['a', 'b'])
  assert.deepEqual([...content.metricRecords.keys()], ['m'])
  assert.deepEqual([...content.configRecords.keys()], ['c'])
})
