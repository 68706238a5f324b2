import { UsageError } from '../../base/errors.ts'

/** What an option of a strategy may be. A `bigint` is what a whole number in an app's configuration is. */
export interface Bounds {
  /** The value must be larger. */
  readonly above?: number
  readonly atLeast?: number
  /** The value must be smaller. */
  readonly below?: number
  readonly atMost?: number
  readonly isWhole?: boolean
}

/** Returns an option as a number. Throws a UsageError with the name of the strategy, the option and its bounds. */
export function checkedNumber(strategy: string, name: string, value: number | bigint, bounds: Bounds = {}): number {
  const number = Number(value)
  const { above, atLeast, below, atMost, isWhole } = bounds
  const isInside =
    Number.isFinite(number) &&
    (above === undefined || number > above) &&
    (atLeast === undefined || number >= atLeast) &&
    (below === undefined || number < below) &&
    (atMost === undefined || number <= atMost) &&
    (!isWhole || Number.isSafeInteger(number))
  if (isInside) return number
  const limits = [
    above === undefined ? [] : `above ${above}`,
    atLeast === undefined ? [] : `of ${atLeast} or more`,
    below === undefined ? [] : `below ${below}`,
    atMost === undefined ? [] : `of ${atMost} or less`,
  ].flat()
  const kind = isWhole ? 'a whole number' : 'a number'
  throw new UsageError(`${strategy}: ${name} must be ${[kind, limits.join(' and ')].join(' ').trim()}, not ${value}.`)
}
