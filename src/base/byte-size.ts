import { UsageError } from './errors.ts'

const unitBytes: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 }

/** Reads a number of bytes such as `20M`. Throws a UsageError (status 2) that names the flag. */
export function readByteSize(
  text: string,
  flag: string,
  { min, max, example = '20M' }: { readonly min: string; readonly max: string; readonly example?: string },
): number {
  const units = max.endsWith('T') ? 'K, M, G or T' : 'K, M or G'
  const unit = text.at(-1)?.toUpperCase() ?? ''
  const bytes = /\d/.test(unit) || units.includes(unit) ? bytesOf(text) : Number.NaN
  if (bytes >= bytesOf(min) && bytes <= bytesOf(max)) return bytes
  throw new UsageError(
    `${flag} must be a number with ${units} behind it, e.g. ${example}, at least ${min} and at most ${max}, not '${text}'.`,
    { exitStatus: 2 },
  )
}

function bytesOf(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,13})([KMGT]?)$/i.exec(text) ?? []
  return Number(digits) * (unitBytes[unit.toUpperCase()] as number)
}

/** Returns the bytes in the largest unit that leaves at least one, e.g. `1.5G`. */
export function formatByteSize(bytes: number): string {
  const unit = ['T', 'G', 'M', 'K'].find((name) => bytes >= (unitBytes[name] as number)) ?? ''
  const count = bytes / (unitBytes[unit] as number)
  return `${Number.isInteger(count) ? count : count.toFixed(1)}${unit}`
}
