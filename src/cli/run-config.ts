import { UsageError } from '../base/errors.ts'
import type { UserConfig } from '../base/user-config.ts'
import { parseConfigPairs } from '../fab/config-pairs.ts'

/**
 * The overrides of a run, from every `--run-config`; a later one wins. Throws a UsageError for a key that the app does
 * not have, before anything is sent.
 */
export function readRunConfig(texts: readonly string[], appConfig: UserConfig): UserConfig {
  const overrides = readPairs(texts, '--run-config')
  const unknown = Object.keys(overrides).find((key) => !Object.hasOwn(appConfig, key))
  if (unknown === undefined) return overrides
  const known = Object.keys(appConfig)
  const there = known.length === 0 ? 'it has none' : `there are ${known.slice(0, 20).join(', ')}`
  throw new UsageError(`--run-config: the app has no key '${unknown}' in [tool.flwr.app.config]: ${there}.`)
}

/** Several options of pairs, or one of a `.toml` file. */
export function readPairs(texts: readonly string[], flag: string): UserConfig {
  if (texts.length > 1 && texts.some((text) => text.trim().endsWith('.toml') && !text.includes('=')))
    throw new UsageError(`${flag}: a .toml file cannot be combined with others: give one file, or pairs.`)
  return Object.assign({}, ...texts.map((text) => parseConfigPairs(text, flag)))
}
