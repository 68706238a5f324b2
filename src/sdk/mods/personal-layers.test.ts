import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { ClientApp } from '../client-app.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { FedAvg } from '../strategy/fed-avg.ts'
import { personalLayers } from './personal-layers.ts'

mock.method(process.stderr, 'write', () => true)

const arrayOf = (value: number): NdArray => NdArray.from(new Float64Array([value]))
const numberIn = (arrays: ArrayRecord, name: string): number => arrays.getArray(name).values('float64')[0] as number

test('personal layers stay at their node, and all others are averaged', async () => {
  const seen: number[][] = []
  const app = (step: number): ClientApp =>
    new ClientApp({ mods: [personalLayers((name) => name.startsWith('bn'))] })
      .train((message) => {
        const model = message.content.arrays('arrays')
        const arrays = new ArrayRecord({
          w: arrayOf(numberIn(model, 'w') + step),
          bn: arrayOf(numberIn(model, 'bn') + step),
        })
        return message.reply(new RecordDict({ arrays, m: new MetricRecord({ 'num-examples': 1 }) }))
      })
      .evaluate((message) => {
        seen.push([step, numberIn(message.content.arrays('arrays'), 'bn')])
        return message.reply(new RecordDict({ m: new MetricRecord({ 'num-examples': 1 }) }))
      })
  const grid = new InMemoryGrid([{ app: app(1) }, { app: app(3) }])
  const start = new ArrayRecord({ w: arrayOf(0), bn: arrayOf(100) })
  const { arrays } = await new FedAvg().start(grid, start, { numRounds: 2 })
  assert.deepEqual([numberIn(arrays, 'w'), numberIn(arrays, 'bn')], [4, 100])
  assert.deepEqual(seen.toSorted(), [
    [1, 101],
    [1, 102],
    [3, 103],
    [3, 106],
  ])
})
