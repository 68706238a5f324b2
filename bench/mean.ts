import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { ArrayRecord, Message, MetricRecord, NdArray, RecordDict, Replies } from '../src/sdk/index.ts'

/** The weighted mean of models of one float32 array, in seconds of processor time. */
const floats = 25_000_000
const models = 4
const repeats = 5

export interface MeanFigures {
  readonly ours: number
  /** Flower's steps with numpy; absent without Python. */
  readonly numpy: number | undefined
  /** As many copies of a model: what the memory can do. */
  readonly copies: number
}

export async function measureMeans(python: string | undefined): Promise<MeanFigures> {
  const replies = Array.from({ length: models }, (_, node) => replyOf(node))
  const copy = new Uint8Array(floats * 4)
  return {
    ours: await median(() => Replies.of(replies).weightedBy('num-examples').meanOfArrays()),
    numpy: python === undefined ? undefined : measureNumpy(python),
    copies: await median(() => {
      for (const { content } of replies) copy.set(content.arrays('arrays').getArray('w').data.subarray(-copy.length))
    }),
  }
}

/** Gigabytes of models a second. */
export function gigabytesPerSecond(seconds: number): number {
  return (models * floats * 4) / seconds / 1e9
}

/** No two models lie in the same memory: else a cache would have them. */
function replyOf(node: number): Message {
  const w = NdArray.build('float32', [floats], (values) => {
    for (let index = 0; index < values.length; index++) values[index] = (index % 1_000_003) + node
  })
  const arrays = new ArrayRecord({ w })
  const question = Message.create({ content: new RecordDict(), messageType: 'train', dstNodeId: BigInt(node) })
  return question.reply(new RecordDict({ arrays, metrics: new MetricRecord({ 'num-examples': 1 }) }))
}

async function median(work: () => unknown): Promise<number> {
  const seconds: number[] = []
  for (let repeat = 0; repeat < repeats; repeat++) {
    const before = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(before)
    seconds.push((user + system) / 1e6)
  }
  return seconds.toSorted((a, b) => a - b)[Math.floor(repeats / 2)] as number
}

function measureNumpy(python: string): number {
  const script = `
import numpy as np, statistics, time
models = [np.arange(${floats}, dtype=np.float32) + node for node in range(${models})]
def mean():
    total = None
    for model in models:
        total = model * ${1 / models} if total is None else total + model * ${1 / models}
def seconds():
    before = time.process_time()
    mean()
    return time.process_time() - before
print(statistics.median(seconds() for _ in range(${repeats})))
`
  return Number(execFileSync(join(python, 'bin', 'python'), ['-c', script], { encoding: 'utf8' }))
}
