import { parse, TomlError } from 'smol-toml'
import { errorText } from './errors.ts'
import { limits } from './limits.ts'
import { printable } from './printable.ts'

/** Reads TOML of any origin. Its size, depth and number of parts are bounded before the parser sees it. */

export type TomlTable = { [key: string]: unknown }

/** A text that is not valid TOML, or over a limit. The message is the rest of a sentence, with the line where it is known. */
export class TomlFault extends Error {
  override readonly name = 'TomlFault'
}

export interface TomlBounds {
  readonly bytesMax: number
  /** Keys, elements, tables and arrays, all together: the parser's time grows with them. */
  readonly partsMax: number
}

/** For the files and arguments of the person that runs the program. */
const ownBounds: TomlBounds = { bytesMax: limits.ownTomlBytesMax, partsMax: limits.ownTomlPartsMax }
/** For texts that a peer sent. */
export const peerBounds: TomlBounds = { bytesMax: limits.pyprojectBytesMax, partsMax: limits.pyprojectPartsMax }

/** Returns the document, its integers as bigints if asked for. Throws a TomlFault. */
export function parseToml(text: string, options: { bounds?: TomlBounds; integersAsBigInt?: boolean } = {}): TomlTable {
  const { bounds = ownBounds, integersAsBigInt = false } = options
  ensureBounded(text, bounds)
  try {
    return parse(text, { integersAsBigInt, maxDepth: limits.tomlDepthMax }) as TomlTable
  } catch (error) {
    const [what = ''] = errorText(error).replace('Invalid TOML document: ', '').split('\n')
    throw new TomlFault(printable(error instanceof TomlError ? `${what}, line ${error.line}` : what), { cause: error })
  }
}

function ensureBounded(text: string, { bytesMax, partsMax }: TomlBounds): void {
  if (Buffer.byteLength(text) > bytesMax) throw new TomlFault(`it is larger than ${bytesMax} bytes`)
  const { depth, parts } = measureToml(text)
  if (depth > limits.tomlDepthMax) throw new TomlFault(`tables or arrays are nested deeper than ${limits.tomlDepthMax}`)
  if (parts > partsMax) throw new TomlFault(`it has more than ${partsMax} keys, elements and tables`)
}

/**
 * Measures in one pass, without parsing: the deepest nesting (brackets and the dots of a key), and how many parts there
 * are (each key of a dotted one counts). Invalid TOML is measured too, at least as large as the parser would find it.
 */
export function measureToml(text: string): { depth: number; parts: number } {
  let open = 0
  let dots = 0
  let depth = 0
  let parts = 0
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string
    if (char === '#') at = endOfLine(text, at) - 1
    else if (char === '"' || char === "'") at = endOfString(text, at, char) - 1
    else if (char === '[' || char === '{') {
      open++
      parts++
      dots = 0
    } else if (char === ']' || char === '}') open = Math.max(0, open - 1)
    else if (char === '.') {
      dots++
      parts++
    } else if (char === '=' || char === ',' || char === '\n') {
      if (char !== '\n') parts++
      dots = 0
    }
    depth = Math.max(depth, open + dots)
  }
  return { depth, parts }
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from)
  return end < 0 ? text.length : end
}

/** Where the text goes on after the string that begins at `from`. A string of one line ends with its line at the latest. */
function endOfString(text: string, from: number, quote: string): number {
  const isLong = text.startsWith(quote.repeat(3), from)
  const close = isLong ? quote.repeat(3) : quote
  for (let at = from + close.length; at < text.length; at++) {
    if (text[at] === '\\' && quote === '"') at++
    else if (text[at] === '\n' && !isLong) return at
    else if (text.startsWith(close, at)) {
      let end = at + close.length
      // A long string may end in up to two quotes of its own.
      while (isLong && text[end] === quote && end < at + 5) end++
      return end
    }
  }
  return text.length
}
