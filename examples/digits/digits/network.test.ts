import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ArrayRecord, NdArray } from 'trellis-fl'
import { readShare, readTestSet } from './images.ts'
import { backpropagate, evaluate, fromArrays, initialNetwork, toArrays, train } from './network.ts'

const { train: images } = readShare(0, 3)
const options = { epochs: 1, learningRate: 0.1, batchSize: 16, seed: 1 }

test('the gradients agree with small differences of the loss', () => {
  const batch = [0, 1, 2, 3]
  const network = initialNetwork(7)
  const { gradients } = backpropagate(network, images, batch)
  const step = 1e-3
  for (const name of ['w1', 'b1', 'w2', 'b2'] as const) {
    // The ten weights with the steepest slopes: float32 drowns the others.
    const steepest = [...gradients[name].entries()].sort(([, a], [, b]) => Math.abs(b) - Math.abs(a)).slice(0, 10)
    for (const [index, gradient] of steepest) {
      const lossAt = (shift: number): number => {
        const moved = network[name].with(index, network[name][index]! + shift)
        return backpropagate({ ...network, [name]: moved }, images, batch).loss
      }
      const slope = (lossAt(step) - lossAt(-step)) / (2 * step)
      const difference = Math.abs(slope - gradient)
      assert.ok(difference < 0.02 * Math.abs(gradient) + 1e-3, `${name}[${index}]: ${slope} and ${gradient}`)
    }
  }
})

test('fifteen epochs on one share find nine of ten digits of the test set', () => {
  const network = initialNetwork(1)
  train(network, images, { ...options, epochs: 15 })
  const { accuracy, loss } = evaluate(network, readTestSet())
  assert.ok(accuracy > 0.9, `accuracy ${accuracy}`)
  assert.ok(loss < 0.5, `loss ${loss}`)
})

test('the same seed gives the same network, another seed another', () => {
  const trained = (seed: number) => {
    const network = initialNetwork(1)
    train(network, images, { ...options, seed })
    return network
  }
  assert.deepEqual(trained(5), trained(5))
  assert.notDeepEqual(trained(5), trained(6))
  assert.notDeepEqual(initialNetwork(1), initialNetwork(2))
})

test('training changes neither the record that the network came from nor the one it went to', () => {
  const record = toArrays(initialNetwork(1))
  const network = fromArrays(record)
  train(network, images, options)
  assert.deepEqual(fromArrays(record), initialNetwork(1))
  const trained = toArrays(network)
  const kept = fromArrays(trained)
  train(network, images, options)
  assert.deepEqual(fromArrays(trained), kept)
})

test('a model of another app is refused by the name of what is missing', () => {
  assert.throws(() => fromArrays(new ArrayRecord({ w1: NdArray.from(new Float32Array(2048)) })), /'?b1'?/)
})
