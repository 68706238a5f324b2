import { ArrayRecord, NdArray } from 'trellis-fl'
import { type Images, pixelsPerImage } from './images.ts'

/** A network with one hidden layer: softmax(relu(x W1 + b1) W2 + b2). */
export interface Network {
  /** 64 x 32 */
  readonly w1: Float32Array
  readonly b1: Float32Array
  /** 32 x 10 */
  readonly w2: Float32Array
  readonly b2: Float32Array
}

const hiddenUnits = 32
const classes = 10
const shapes = {
  w1: [pixelsPerImage, hiddenUnits],
  b1: [hiddenUnits],
  w2: [hiddenUnits, classes],
  b2: [classes],
} as const
const names = Object.keys(shapes) as (keyof Network)[]

/** Weights drawn as He et al. (2015) propose, the same for the same seed. */
export function initialNetwork(seed: number): Network {
  const random = createRandom(seed)
  const draw = (length: number, inputs: number): Float32Array =>
    Float32Array.from({ length }, () => (random() * 2 - 1) * Math.sqrt(6 / inputs))
  return {
    w1: draw(pixelsPerImage * hiddenUnits, pixelsPerImage),
    b1: new Float32Array(hiddenUnits),
    w2: draw(hiddenUnits * classes, hiddenUnits),
    b2: new Float32Array(classes),
  }
}

export function toArrays(network: Network): ArrayRecord {
  return new ArrayRecord(names.map((name) => [name, NdArray.from(network[name], shapes[name])] as const))
}

/** A network of its own: training does not change the record. */
export function fromArrays(arrays: ArrayRecord): Network {
  const values = (name: keyof Network): Float32Array => {
    const array = arrays.get(name)
    if (!array) throw new TypeError(`The model has no '${name}'.`)
    return Float32Array.from(array.values() as Float32Array)
  }
  return { w1: values('w1'), b1: values('b1'), w2: values('w2'), b2: values('b2') }
}

/** Mini-batch gradient descent on the cross entropy, in place. Answers the mean loss of the last epoch. */
export function train(
  network: Network,
  images: Images,
  options: { epochs: number; learningRate: number; batchSize: number; seed: number },
): number {
  const random = createRandom(options.seed)
  const order = Array.from({ length: images.count }, (_, index) => index)
  let meanLoss = 0
  for (let epoch = 0; epoch < options.epochs; epoch++) {
    shuffle(order, random)
    let lossSum = 0
    for (let start = 0; start < order.length; start += options.batchSize) {
      const batch = order.slice(start, start + options.batchSize)
      const { gradients, loss } = backpropagate(network, images, batch)
      for (const name of names) descend(network[name], gradients[name], options.learningRate)
      lossSum += loss * batch.length
    }
    meanLoss = lossSum / images.count
  }
  return meanLoss
}

/** Mean loss, and the share of images whose digit is found. */
export function evaluate(network: Network, images: Images): { loss: number; accuracy: number } {
  let loss = 0
  let found = 0
  for (let image = 0; image < images.count; image++) {
    const { output } = forward(network, images, image)
    const digit = images.digits[image] as number
    loss -= Math.log(output[digit] as number)
    if (output.every((probability) => probability <= (output[digit] as number))) found += 1
  }
  return { loss: loss / images.count, accuracy: found / images.count }
}

/** The gradients of the mean cross entropy of some images. */
export function backpropagate(
  network: Network,
  images: Images,
  batch: readonly number[],
): { gradients: Network; loss: number } {
  const gradients: Network = {
    w1: new Float32Array(network.w1.length),
    b1: new Float32Array(network.b1.length),
    w2: new Float32Array(network.w2.length),
    b2: new Float32Array(network.b2.length),
  }
  let loss = 0
  for (const image of batch) {
    const { hidden, output } = forward(network, images, image)
    const digit = images.digits[image] as number
    loss -= Math.log(output[digit] as number)
    const hiddenError = new Float32Array(hiddenUnits)
    for (let unit = 0; unit < classes; unit++) {
      // The derivative of softmax and cross entropy together.
      const error = ((output[unit] as number) - (unit === digit ? 1 : 0)) / batch.length
      add(gradients.b2, unit, error)
      for (let from = 0; from < hiddenUnits; from++) {
        add(gradients.w2, from * classes + unit, error * (hidden[from] as number))
        add(hiddenError, from, error * (network.w2[from * classes + unit] as number))
      }
    }
    for (let unit = 0; unit < hiddenUnits; unit++) {
      if ((hidden[unit] as number) <= 0) continue
      const error = hiddenError[unit] as number
      add(gradients.b1, unit, error)
      for (let pixel = 0; pixel < pixelsPerImage; pixel++)
        add(gradients.w1, pixel * hiddenUnits + unit, error * (images.pixels[image * pixelsPerImage + pixel] as number))
    }
  }
  return { gradients, loss: loss / batch.length }
}

function forward(network: Network, images: Images, image: number): { hidden: Float32Array; output: Float32Array } {
  const hidden = Float32Array.from(network.b1)
  for (let pixel = 0; pixel < pixelsPerImage; pixel++) {
    const value = images.pixels[image * pixelsPerImage + pixel] as number
    if (value === 0) continue
    for (let unit = 0; unit < hiddenUnits; unit++)
      add(hidden, unit, value * (network.w1[pixel * hiddenUnits + unit] as number))
  }
  for (let unit = 0; unit < hiddenUnits; unit++) hidden[unit] = Math.max(0, hidden[unit] as number)
  const output = Float32Array.from(network.b2)
  for (let from = 0; from < hiddenUnits; from++) {
    for (let unit = 0; unit < classes; unit++)
      add(output, unit, (hidden[from] as number) * (network.w2[from * classes + unit] as number))
  }
  return { hidden, output: softmax(output) }
}

function softmax(values: Float32Array): Float32Array {
  const largest = Math.max(...values)
  const exponentials = values.map((value) => Math.exp(value - largest))
  const sum = exponentials.reduce((total, value) => total + value, 0)
  return exponentials.map((value) => value / sum)
}

function descend(values: Float32Array, gradients: Float32Array, learningRate: number): void {
  for (let index = 0; index < values.length; index++) add(values, index, -learningRate * (gradients[index] as number))
}

function add(values: Float32Array, index: number, amount: number): void {
  values[index] = (values[index] as number) + amount
}

/** Fisher and Yates. */
function shuffle(items: number[], random: () => number): void {
  for (let index = items.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1))
    ;[items[index], items[other]] = [items[other] as number, items[index] as number]
  }
}

/** Numbers in [0, 1) that depend on the seed alone (a 32-bit linear congruential generator, constants of Numerical Recipes). */
function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
