import { UsageError } from '../base/errors.ts'

/** Seconds, or a text such as `'10m'`: a number and one of `ms`, `s`, `m`, `h` and `d`. */
export type Duration = number | bigint | string

const secondsByUnit: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 }

/** Returns a duration in seconds. Throws a UsageError with the name of the option unless it is above 0. */
export function durationSeconds(name: string, value: Duration): number {
  const seconds = typeof value === 'string' ? secondsOf(value) : Number(value)
  if (seconds > 0) return seconds
  throw new UsageError(`${name} must be a number of seconds above 0 or a text such as '10m', not ${value}.`)
}

function secondsOf(text: string): number {
  const [, number = '', unit = 's'] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$/.exec(text.trim()) ?? []
  return number === '' ? Number.NaN : Number(number) * (secondsByUnit[unit] as number)
}
