import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { ArrayRecord, Message, MetricRecord, NdArray, RecordDict, Replies } from '../src/sdk/index.ts'

/** The weighted mean of models of float32, in seconds of processor time. */
const floats = 25_000_000
const models = 4
const repeats = 9
/** The memory of arrays of a few megabytes is used again after they are freed; that of one large array is new each time. */
const layers = 20

export interface MeanFigures {
  readonly oneArray: MeansOfShape
  readonly manyArrays: MeansOfShape
  /** As many copies of a model: what the memory can do. */
  readonly copies: number
}

/** From the bytes of replies to the bytes of the next model, and the arithmetic alone in numpy. */
export interface MeansOfShape {
  readonly ours: number
  /** Absent without Python. */
  readonly flower: number | undefined
  readonly numpy: number | undefined
}

export async function measureMeans(python: string | undefined): Promise<MeanFigures> {
  const source = new Uint8Array(floats * 4).fill(1)
  const target = new Uint8Array(floats * 4)
  return {
    oneArray: await measureShape(python, 1),
    manyArrays: await measureShape(python, layers),
    copies: await median(() => {
      for (let copied = 0; copied < models; copied++) target.set(source)
    }),
  }
}

/** Gigabytes of models a second. */
export function gigabytesPerSecond(seconds: number): number {
  return (models * floats * 4) / seconds / 1e9
}

async function measureShape(python: string | undefined, arrays: number): Promise<MeansOfShape> {
  const replies = Array.from({ length: models }, (_, node) => replyOf(node, arrays))
  return {
    ours: await median(() => Replies.of(replies).weightedBy('num-examples').meanOfArrays()),
    ...(python === undefined ? { flower: undefined, numpy: undefined } : measurePython(python, arrays)),
  }
}

/** No two models lie in the same memory: else a cache would have them. */
function replyOf(node: number, arrays: number): Message {
  const named = Array.from({ length: arrays }, (_, index) => [`w${index}`, arrayOf(floats / arrays, node)] as const)
  const question = Message.create({ content: new RecordDict(), messageType: 'train', dstNodeId: BigInt(node) })
  const metrics = new MetricRecord({ 'num-examples': 1 })
  return question.reply(new RecordDict({ arrays: new ArrayRecord(named), metrics }))
}

function arrayOf(length: number, node: number): NdArray {
  return NdArray.build('float32', [length], (values) => {
    for (let index = 0; index < values.length; index++) values[index] = (index % 1_000_003) + node
  })
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

function measurePython(python: string, arrays: number): { flower: number; numpy: number } {
  const script = `
import json, statistics, time
import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords
models = [{f'w{index}': np.arange(${floats / arrays}, dtype=np.float32) + node for index in range(${arrays})} for node in range(${models})]
replies = [RecordDict({
    'arrays': ArrayRecord({name: Array(array) for name, array in model.items()}),
    'metrics': MetricRecord({'num-examples': 1}),
}) for model in models]
def arithmetic():
    totals = {}
    for model in models:
        for name, array in model.items():
            if name in totals: totals[name] += array * ${1 / models}
            else: totals[name] = array * ${1 / models}
def median(work):
    seconds = []
    for _ in range(${repeats}):
        before = time.process_time()
        work()
        seconds.append(time.process_time() - before)
    return statistics.median(seconds)
flower = median(lambda: aggregate_arrayrecords(replies, 'num-examples'))
print(json.dumps({'flower': flower, 'numpy': median(arithmetic)}))
`
  return JSON.parse(execFileSync(join(python, 'bin', 'python'), ['-c', script], { encoding: 'utf8' }))
}
