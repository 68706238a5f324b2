import { DomainError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'

/** What an operator calls a SuperNode. */
export interface NodeLabel {
  /** LATITUDE,LONGITUDE in degrees. */
  readonly location?: string | undefined
  readonly name?: string | undefined
}

/** Throws `node-label-invalid`. */
export function ensureLabel({ location, name }: NodeLabel): void {
  if (location !== undefined) ensureLocation(location)
  if (name !== undefined && name.length > limits.nodeNameCharactersMax)
    throw new DomainError(
      'node-label-invalid',
      `The name of a SuperNode has at most ${limits.nodeNameCharactersMax} characters.`,
    )
}

function ensureLocation(location: string): void {
  const parts = location.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
  const [latitude = Number.NaN, longitude = Number.NaN] = parts
  const isPlace = location.length <= 64 && parts.length === 2 && Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180
  if (!isPlace)
    throw new DomainError(
      'node-label-invalid',
      `'${location.slice(0, 64)}' is no location: give LATITUDE,LONGITUDE in degrees, within 90 and 180.`,
    )
}
