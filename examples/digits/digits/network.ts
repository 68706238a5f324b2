import { ArrayRecord, NdArray } from 'trellis-fl'
import { type Images, imageAt, pixelsPerImage } from './images.ts'
import { createRandom, shuffle } from './random.ts'

/**
 * A network with one hidden layer: softmax(relu(x W1 + b1) W2 + b2). Matrices are stored row after row, and a row holds
 * the weights that leave one input, so that everything below is dot products and sums of rows.
 */
export interface Network {
  /** 64 x 32 */
  readonly w1: Float32Array
  readonly b1: Float32Array
  /** 32 x 10 */
  readonly w2: Float32Array
  readonly b2: Float32Array
}

export interface TrainOptions {
  readonly epochs: number
  readonly learningRate: number
  readonly batchSize: number
  /** The same seed gives the same order of images, and so the same network. */
  readonly seed: number
}

const hiddenUnits = 32
const digitCount = 10
const shapes = {
  w1: [pixelsPerImage, hiddenUnits],
  b1: [hiddenUnits],
  w2: [hiddenUnits, digitCount],
  b2: [digitCount],
} as const
const names = ['w1', 'b1', 'w2', 'b2'] as const

/** Weights drawn as He et al. (2015) propose, the same for the same seed. */
export function initialNetwork(seed: number): Network {
  const random = createRandom(seed)
  const draw = (length: number, inputs: number): Float32Array =>
    Float32Array.from({ length }, () => (random() * 2 - 1) * Math.sqrt(6 / inputs))
  return {
    ...zeros(),
    w1: draw(pixelsPerImage * hiddenUnits, pixelsPerImage),
    w2: draw(hiddenUnits * digitCount, hiddenUnits),
  }
}

export function toArrays(network: Network): ArrayRecord {
  return new ArrayRecord(names.map((name) => [name, NdArray.from(network[name], shapes[name])] as const))
}

/** A network of its own: training it does not change the record. Throws when the record is no such network. */
export function fromArrays(arrays: ArrayRecord): Network {
  // `values` may be a view of the record, hence the copy.
  const values = (name: keyof Network): Float32Array => arrays.getArray(name).values('float32').slice()
  return { w1: values('w1'), b1: values('b1'), w2: values('w2'), b2: values('b2') }
}

/** Mini-batch gradient descent on the cross entropy, in place. Returns the mean loss of the last epoch. */
export function train(network: Network, images: Images, options: TrainOptions): number {
  const { epochs, learningRate, batchSize, seed } = options
  const random = createRandom(seed)
  const order = [...images.digits.keys()]
  let meanLoss = 0
  for (let epoch = 0; epoch < epochs; epoch++) {
    shuffle(order, random)
    let lossSum = 0
    for (let start = 0; start < order.length; start += batchSize) {
      const batch = order.slice(start, start + batchSize)
      const { gradients, loss } = backpropagate(network, images, batch)
      for (const name of names) addScaled(network[name], -learningRate, gradients[name])
      lossSum += loss * batch.length
    }
    meanLoss = lossSum / images.count
  }
  return meanLoss
}

/** Mean loss, and the share of images whose digit is found. */
export function evaluate(network: Network, images: Images): { loss: number; accuracy: number } {
  let lossSum = 0
  let found = 0
  for (const [index, digit] of images.digits.entries()) {
    const { output } = forward(network, imageAt(images, index))
    lossSum -= Math.log(output[digit]!)
    if (output.indexOf(Math.max(...output)) === digit) found += 1
  }
  return { loss: lossSum / images.count, accuracy: found / images.count }
}

/** The mean cross entropy of some images, and its gradients. */
export function backpropagate(
  network: Network,
  images: Images,
  batch: readonly number[],
): { loss: number; gradients: Network } {
  const gradients = zeros()
  let loss = 0
  for (const index of batch) {
    const pixels = imageAt(images, index)
    const digit = images.digits[index]!
    const { hidden, output } = forward(network, pixels)
    loss -= Math.log(output[digit]!) / batch.length

    // The derivative of softmax and cross entropy together is what was said less what is true.
    const outputError = output.map((probability, unit) => (probability - (unit === digit ? 1 : 0)) / batch.length)
    addScaled(gradients.b2, 1, outputError)
    addOuter(gradients.w2, hidden, outputError)

    const hiddenError = hidden.map((value, unit) =>
      value > 0 ? dot(row(network.w2, unit, digitCount), outputError) : 0,
    )
    addScaled(gradients.b1, 1, hiddenError)
    addOuter(gradients.w1, pixels, hiddenError)
  }
  return { loss, gradients }
}

function forward(network: Network, pixels: Float32Array): { hidden: Float32Array; output: Float32Array } {
  const hidden = layer(pixels, network.w1, network.b1).map((value) => Math.max(0, value))
  return { hidden, output: softmax(layer(hidden, network.w2, network.b2)) }
}

/** inputs W + bias */
function layer(inputs: Float32Array, weights: Float32Array, bias: Float32Array): Float32Array {
  const outputs = bias.slice()
  for (const [index, input] of inputs.entries())
    if (input !== 0) addScaled(outputs, input, row(weights, index, bias.length))
  return outputs
}

function softmax(values: Float32Array): Float32Array {
  const largest = Math.max(...values)
  const exponentials = values.map((value) => Math.exp(value - largest))
  const sum = exponentials.reduce((total, value) => total + value, 0)
  return exponentials.map((value) => value / sum)
}

/** matrix += column × row */
function addOuter(matrix: Float32Array, column: Float32Array, rowValues: Float32Array): void {
  for (const [index, factor] of column.entries())
    if (factor !== 0) addScaled(row(matrix, index, rowValues.length), factor, rowValues)
}

/** target += factor × values */
function addScaled(target: Float32Array, factor: number, values: Float32Array): void {
  for (let index = 0; index < target.length; index++) target[index]! += factor * values[index]!
}

function dot(left: Float32Array, right: Float32Array): number {
  let sum = 0
  for (let index = 0; index < left.length; index++) sum += left[index]! * right[index]!
  return sum
}

/** A view, not a copy. */
function row(matrix: Float32Array, index: number, length: number): Float32Array {
  return matrix.subarray(index * length, (index + 1) * length)
}

function zeros(): Network {
  const zerosOf = (name: keyof Network): Float32Array =>
    new Float32Array(shapes[name].reduce((size, dimension) => size * dimension, 1))
  return { w1: zerosOf('w1'), b1: zerosOf('b1'), w2: zerosOf('w2'), b2: zerosOf('b2') }
}
