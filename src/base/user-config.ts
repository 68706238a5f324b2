import { DomainError } from './errors.ts'
import { limits } from './limits.ts'

/**
 * Configuration values as TOML has them: an integer is a bigint, a float a number. `Number(value)` reads either.
 */
export type UserConfigValue = boolean | bigint | number | string
/** Nested tables are flattened to dotted keys. */
export type UserConfig = Record<string, UserConfigValue>

/** Checks how much an override of a run's configuration holds. Throws `run-config-invalid`. */
export function ensureConfigFits(config: UserConfig): void {
  const refuse = (what: string): DomainError => new DomainError('run-config-invalid', `The run configuration ${what}.`)
  const entries = Object.entries(config)
  if (entries.length > limits.runConfigKeysMax) throw refuse(`has more than ${limits.runConfigKeysMax} keys`)
  let bytes = 0
  for (const [key, value] of entries) {
    const keyBytes = Buffer.byteLength(key)
    const valueBytes = typeof value === 'string' ? Buffer.byteLength(value) : 8
    if (keyBytes > limits.runConfigKeyBytesMax)
      throw refuse(`has a key of more than ${limits.runConfigKeyBytesMax} bytes: '${key.slice(0, 60)}…'`)
    if (valueBytes > limits.runConfigValueBytesMax)
      throw refuse(`has a value of more than ${limits.runConfigValueBytesMax} bytes: '${key}'`)
    bytes += keyBytes + valueBytes
  }
  // What the encoding adds is less than half of the limit, with this many keys.
  if (bytes > limits.runConfigBytesMax / 2) throw refuse(`has more than ${limits.runConfigBytesMax / 2} bytes`)
}
