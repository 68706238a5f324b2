import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readPartition } from './images.ts'
import { backpropagate, evaluate, fromArrays, initialNetwork, type Network, toArrays, train } from './network.ts'

test('the shares of three nodes are disjoint and together all 1,797 images', () => {
  const counts = [0, 1, 2]
    .map((partition) => readPartition(partition, 3))
    .map((share) => share.train.count + share.test.count)
  assert.deepEqual(counts, [599, 599, 599])
  assert.throws(() => readPartition(3, 3), /no share 3 of 3/)
})

test('the gradients agree with small differences of the loss', () => {
  const { train: images } = readPartition(0, 3)
  const batch = [0, 1, 2, 3]
  const network = initialNetwork(7)
  const { gradients } = backpropagate(network, images, batch)
  const step = 1e-2
  for (const name of ['w1', 'b1', 'w2', 'b2'] as const) {
    // The weight with the steepest slope: float32 drowns the others.
    const steepest = gradients[name].reduce(
      (best, value, index) => (Math.abs(value) > Math.abs(gradients[name][best] as number) ? index : best),
      0,
    )
    const lossAt = (shift: number): number => {
      const moved: Network = { ...network, [name]: Float32Array.from(network[name]) }
      moved[name][steepest] = (moved[name][steepest] as number) + shift
      return backpropagate(moved, images, batch).loss
    }
    const slope = (lossAt(step) - lossAt(-step)) / (2 * step)
    const gradient = gradients[name][steepest] as number
    assert.ok(Math.abs(slope - gradient) < 0.02 * Math.abs(gradient) + 1e-3, `${name}: ${slope} and ${gradient}`)
  }
})

test('training finds nine of ten digits that it has not seen, and the record it started from stays as it was', () => {
  const { train: images, test: unseen } = readPartition(0, 1)
  const start = toArrays(initialNetwork(1))
  const network = fromArrays(start)
  train(network, images, { epochs: 5, learningRate: 0.1, batchSize: 32, seed: 1 })
  assert.ok(evaluate(network, unseen).accuracy > 0.9)
  assert.deepEqual(fromArrays(start), initialNetwork(1))
})
