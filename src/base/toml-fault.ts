import { TomlError } from 'smol-toml'
import { errorText } from './errors.ts'

/** What is wrong with a TOML text, and in which line, as the rest of a sentence. */
export function tomlFault(error: unknown): string {
  const what = errorText(error).split('\n')[0]?.replace('Invalid TOML document: ', '')
  return error instanceof TomlError ? `${what}, line ${error.line}` : (what ?? '')
}
