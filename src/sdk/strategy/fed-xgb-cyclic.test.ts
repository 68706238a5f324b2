import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, ConfigRecord } from '../../message/records.ts'
import { InMemoryGrid } from '../in-memory-grid.ts'
import { FedXgbCyclic } from './fed-xgb-cyclic.ts'

mock.method(process.stderr, 'write', () => true)

const model = new ArrayRecord({ 0: NdArray.from(new Uint8Array(1)) })

test('nodes take turns in the order in which they were first seen, and later ones come last', async () => {
  const strategy = new FedXgbCyclic()
  let online = [5n, 3n]
  const grid = Object.assign(new InMemoryGrid([]), { getNodeIds: async () => online })
  const turn = async (round: number): Promise<bigint | undefined> => {
    const [message] = await strategy.configureTrain(round, model, new ConfigRecord(), grid)
    return message?.metadata.dstNodeId
  }
  const first = [await turn(1), await turn(2)]
  assert.deepEqual(first.toSorted(), [3n, 5n])
  online = [1n, 3n, 5n]
  assert.deepEqual([await turn(1), await turn(2), await turn(3), await turn(4)], [...first, 1n, first[0]])
  online = [1n, 3n]
  assert.deepEqual([await turn(1), await turn(2)], [3n, 1n])
})

test('a phase with fraction 0 is skipped, and other fractions are refused', async () => {
  const skipping = new FedXgbCyclic({ fractionTrain: 0, fractionEvaluate: 0 })
  const grid = new InMemoryGrid([])
  assert.deepEqual(await skipping.configureTrain(1, model, new ConfigRecord(), grid), [])
  assert.deepEqual(await skipping.configureEvaluate(1, model, new ConfigRecord(), grid), [])
  assert.throws(
    () => new FedXgbCyclic({ fractionTrain: 0.5 }),
    /fractionTrain must be 1, or 0 to skip the phase, not 0.5/,
  )
})
