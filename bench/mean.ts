import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { ArrayRecord, NdArray, WeightedSum } from '../src/sdk/index.ts'

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

export function measureMeans(python: string | undefined): MeanFigures {
  const model = new ArrayRecord({
    w: NdArray.build('float32', [floats], (values) => {
      for (let index = 0; index < values.length; index++) values[index] = Math.sin(index)
    }),
  })
  const { data } = model.getArray('w')
  const copy = new Uint8Array(data.length)
  return {
    ours: median(() => {
      const sum = new WeightedSum()
      for (let added = 0; added < models; added++) sum.add(model, 1 / models)
      return sum.mean()
    }),
    numpy: python === undefined ? undefined : measureNumpy(python),
    copies: median(() => {
      for (let copied = 0; copied < models; copied++) copy.set(data)
    }),
  }
}

/** Gigabytes of models a second. */
export function gigabytesPerSecond(seconds: number): number {
  return (models * floats * 4) / seconds / 1e9
}

function median(work: () => unknown): number {
  const seconds = Array.from({ length: repeats }, () => {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1e6
  })
  return seconds.toSorted((a, b) => a - b)[Math.floor(repeats / 2)] as number
}

function measureNumpy(python: string): number {
  const script = `
import numpy as np, statistics, time
model = np.sin(np.arange(${floats}, dtype=np.float32))
def mean():
    total = None
    for share in [1 / ${models}] * ${models}:
        total = model * share if total is None else total + model * share
def seconds():
    before = time.process_time()
    mean()
    return time.process_time() - before
print(statistics.median(seconds() for _ in range(${repeats})))
`
  return Number(execFileSync(join(python, 'bin', 'python'), ['-c', script], { encoding: 'utf8' }))
}
