import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import {
  ArrayRecord,
  ClientApp,
  FedAvg,
  InMemoryGrid,
  MetricRecord,
  NdArray,
  RecordDict,
  Scaffold,
  ScaffoldNode,
  type Strategy,
} from 'trellis-fl'
import { type Images, imageAt, pixelsPerImage, readShare, readTestSet } from './images.ts'

/** Each node has images of two digits only: the case for which SCAFFOLD was made. */

mock.method(process.stderr, 'write', () => true)

const digits = 10
const nodes = 5
const steps = 20
const learningRate = 0.5

type Weights = Float64Array

/** The gradient of softmax regression, and the mean loss. */
function gradientOf(weights: Weights, images: Images): { gradient: Weights; loss: number } {
  const gradient = new Float64Array(weights.length)
  let loss = 0
  for (let image = 0; image < images.count; image++) {
    const pixels = imageAt(images, image)
    const scores = Array.from({ length: digits }, (_, digit) => {
      let score = 0
      for (let pixel = 0; pixel < pixelsPerImage; pixel++)
        score += weights[digit * pixelsPerImage + pixel]! * pixels[pixel]!
      return score
    })
    const most = Math.max(...scores)
    const sum = scores.reduce((total, score) => total + Math.exp(score - most), 0)
    for (const [digit, score] of scores.entries()) {
      const isRight = digit === images.digits[image]
      if (isRight) loss += (Math.log(sum) - score + most) / images.count
      const error = (Math.exp(score - most) / sum - Number(isRight)) / images.count
      for (let pixel = 0; pixel < pixelsPerImage; pixel++)
        gradient[digit * pixelsPerImage + pixel]! += error * pixels[pixel]!
    }
  }
  return { gradient, loss }
}

function imagesOf(node: number, all: Images): Images {
  const own = Array.from(all.digits.keys())
    .filter((index) => Math.floor(all.digits[index]! / 2) === node)
    .slice(0, 30)
  const pixels = new Float32Array(own.length * pixelsPerImage)
  for (const [place, index] of own.entries()) pixels.set(imageAt(all, index), place * pixelsPerImage)
  return { count: own.length, pixels, digits: Uint8Array.from(own, (index) => all.digits[index]!) }
}

const weightsOf = (arrays: ArrayRecord): Weights => arrays.getArray('w').values('float64')
const modelOf = (weights: Weights): ArrayRecord => new ArrayRecord({ w: NdArray.from(weights) })

function nodeWith(images: Images): ClientApp {
  return new ClientApp().train((message, context) => {
    const node = message.content.has('scaffold-control') ? new ScaffoldNode(message, context) : undefined
    const correction = node?.correction('w').values('float64')
    const weights = weightsOf(message.content.arrays('arrays')).slice()
    for (let step = 0; step < steps; step++) {
      const { gradient } = gradientOf(weights, images)
      for (let i = 0; i < weights.length; i++) weights[i]! -= learningRate * (gradient[i]! + (correction?.[i] ?? 0))
    }
    const trained = modelOf(weights)
    const arrays = node ? node.reply(trained, { steps, learningRate }) : trained
    return message.reply(new RecordDict({ arrays, m: new MetricRecord({ 'num-examples': images.count }) }))
  })
}

test('SCAFFOLD reaches a lower loss than FedAvg on digits with skewed labels', async () => {
  const all = readShare(0, 1).train
  const testSet = readTestSet()
  const lossAfter = async (strategy: Strategy): Promise<number> => {
    const apps = Array.from({ length: nodes }, (_, node) => ({ app: nodeWith(imagesOf(node, all)) }))
    const start = modelOf(new Float64Array(digits * pixelsPerImage))
    const { arrays } = await strategy.start(new InMemoryGrid(apps), start, { numRounds: 8 })
    return gradientOf(weightsOf(arrays), testSet).loss
  }
  const [fedAvg, scaffold] = [
    await lossAfter(new FedAvg({ fractionEvaluate: 0 })),
    await lossAfter(new Scaffold({ fractionEvaluate: 0, numNodes: nodes })),
  ]
  assert.ok(scaffold < 0.95 * fedAvg, `SCAFFOLD ${scaffold}, FedAvg ${fedAvg}`)
})
