import { ArrayRecord, NdArray } from 'trellis-fl'

/** A line y = slope * x + intercept. */
export function initialModel(): ArrayRecord {
  return toArrays(0, 0)
}

export interface Point {
  readonly x: number
  readonly y: number
}

/** Points near y = 3x + 1, others at each node. Read your own data here. */
export function points(nodeId: bigint): Point[] {
  const shift = Number(nodeId % 10n) / 10
  return Array.from({ length: 50 }, (_, index) => {
    const x = (index / 50) * 2 - 1 + shift * 0.1
    return { x, y: 3 * x + 1 + Math.sin(index + shift) * 0.05 }
  })
}

/** Gradient descent on the mean squared error. */
export function train(arrays: ArrayRecord, data: readonly Point[], learningRate: number): ArrayRecord {
  let { slope, intercept } = fromArrays(arrays)
  for (let step = 0; step < 50; step++) {
    let [slopeGradient, interceptGradient] = [0, 0]
    for (const { x, y } of data) {
      const error = slope * x + intercept - y
      slopeGradient += (2 * error * x) / data.length
      interceptGradient += (2 * error) / data.length
    }
    slope -= learningRate * slopeGradient
    intercept -= learningRate * interceptGradient
  }
  return toArrays(slope, intercept)
}

/** Mean squared error. */
export function loss(arrays: ArrayRecord, data: readonly Point[]): number {
  const { slope, intercept } = fromArrays(arrays)
  return data.reduce((sum, { x, y }) => sum + (slope * x + intercept - y) ** 2, 0) / data.length
}

function toArrays(slope: number, intercept: number): ArrayRecord {
  return new ArrayRecord({
    slope: NdArray.from(new Float64Array([slope])),
    intercept: NdArray.from(new Float64Array([intercept])),
  })
}

function fromArrays(arrays: ArrayRecord): { slope: number; intercept: number } {
  const value = (name: string): number => Number(arrays.get(name)?.values()[0])
  return { slope: value('slope'), intercept: value('intercept') }
}
