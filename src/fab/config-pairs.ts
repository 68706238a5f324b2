import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { DomainError, UsageError } from '../base/errors.ts'
import { parseToml, TomlFault } from '../base/toml.ts'
import type { UserConfig } from '../base/user-config.ts'
import { flattenConfig } from './pyproject.ts'

/**
 * Reads configuration from a command line: `key=value` pairs with TOML values, separated by white space, or the path of a
 * `.toml` file, which may begin with `~/`. Tables become dotted keys. Throws a UsageError that names `what`.
 *
 * @example
 * parseConfigPairs('partition-id=0 name="left ward"', '--node-config') // { 'partition-id': 0n, name: 'left ward' }
 */
export function parseConfigPairs(text: string, what: string): UserConfig {
  const fail = (why: string, cause?: unknown): UsageError =>
    new UsageError(
      `${what}: ${why}: give key=value pairs with TOML values, e.g. 'epochs=3 name="a b"', or a .toml file.`,
      {
        cause,
      },
    )
  const source =
    text.trim().endsWith('.toml') && !text.includes('=') ? readToml(text.trim(), fail) : onePerLine(text, fail)
  try {
    return flattenConfig(parseToml(source, { integersAsBigInt: true }))
  } catch (error) {
    if (!(error instanceof DomainError || error instanceof TomlFault)) throw error
    throw fail(error.message, error)
  }
}

function readToml(path: string, fail: (why: string, cause?: unknown) => UsageError): string {
  try {
    return readFileSync(path.replace(/^~(?=\/)/, homedir()), 'utf8')
  } catch (error) {
    throw fail(`${path} cannot be read`, error)
  }
}

/** `a=1 b="x y"` with each pair on a line of its own. Quoted values may hold white space. */
function onePerLine(text: string, fail: (why: string) => UsageError): string {
  const pair = /\s*([^\s=]+)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^\s]+)\s*/y
  const lines: string[] = []
  while (pair.lastIndex < text.length) {
    const start = pair.lastIndex
    const found = pair.exec(text)
    const rest = `'${text.slice(start).trim().slice(0, 60)}'`
    if (!found) throw fail(`${rest} is not understood`)
    const [, key = '', value = ''] = found
    if (isOpenQuote(key))
      throw fail(`the quotes around all pairs were kept, e.g. by a compose file that needs none: remove them (${rest})`)
    if (isOpenQuote(value)) throw fail(`a quotation mark does not end in ${rest}`)
    lines.push(`${key} = ${value}`)
  }
  return lines.join('\n')
}

/** Begins with a quotation mark that has no end. */
function isOpenQuote(text: string): boolean {
  const [quote] = text
  return (quote === '"' || quote === "'") && (text.length === 1 || !text.endsWith(quote))
}
