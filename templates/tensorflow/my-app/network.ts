import '@tensorflow/tfjs-backend-cpu'
import { type Tensor, tensor, tensor2d, train } from '@tensorflow/tfjs-core'
import { initializers, layers, type Sequential, sequential } from '@tensorflow/tfjs-layers'
import { ArrayRecord, NdArray } from 'trellis-fl'
import type { Points } from './points.ts'

/** A network with one hidden layer. The same seeds at every node: the ServerApp sends its weights anyway. */
export function createNetwork(learningRate: number): Sequential {
  const network = sequential()
  const hidden = { units: 12, activation: 'tanh', kernelInitializer: seeded(1) } as const
  network.add(layers.dense({ ...hidden, inputShape: [2] }))
  network.add(layers.dense({ units: 1, activation: 'sigmoid', kernelInitializer: seeded(2) }))
  network.compile({ optimizer: train.adam(learningRate), loss: 'binaryCrossentropy', metrics: ['accuracy'] })
  return network
}

function seeded(seed: number): ReturnType<typeof initializers.glorotUniform> {
  return initializers.glorotUniform({ seed })
}

/** The weights by the place of their layer, as they travel. */
export function toArrays(network: Sequential): ArrayRecord {
  return ArrayRecord.fromList(
    network.getWeights().map((weights) => NdArray.from(weights.dataSync() as Float32Array, weights.shape)),
  )
}

export function setArrays(network: Sequential, arrays: ArrayRecord): void {
  const weights = [...arrays.values()].map((array) => tensor(array.values('float32'), [...array.shape]))
  network.setWeights(weights)
  for (const one of weights) one.dispose()
}

/** Trains the network, and returns the loss of the last epoch. */
export async function fit(network: Sequential, points: Points, epochs: number): Promise<number> {
  const [samples, labels] = tensorsOf(points)
  const { history } = await network.fit(samples, labels, { epochs, batchSize: 12, shuffle: false, verbose: 0 })
  for (const one of [samples, labels]) one.dispose()
  return Number(history.loss?.at(-1))
}

export function evaluate(network: Sequential, points: Points): { loss: number; accuracy: number } {
  const [samples, labels] = tensorsOf(points)
  const results = network.evaluate(samples, labels) as [Tensor, Tensor]
  const [loss, accuracy] = results.map((result) => result.dataSync()[0] as number) as [number, number]
  for (const one of [samples, labels, ...results]) one.dispose()
  return { loss, accuracy }
}

function tensorsOf({ samples, labels }: Points): [Tensor, Tensor] {
  return [tensor2d(samples, [labels.length, 2]), tensor2d(labels, [labels.length, 1])]
}
