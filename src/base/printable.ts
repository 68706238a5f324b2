import { stripVTControlCharacters } from 'node:util'

/**
 * Makes text from elsewhere safe to print. Nothing that these functions return can end a line, move the cursor, change
 * colours or turn the direction of writing, so a value can neither forge a line of a log nor steer a terminal.
 */

/** Control, format and surrogate characters, and the line and paragraph separators. */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu
const shortEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** Replaces each unprintable character with its escape, such as `\n` or `\u001b`. */
export function printable(text: string): string {
  return text.replace(unprintable, (char) => shortEscapes[char] ?? escaped(char))
}

/** Makes one line for people: escape sequences disappear, line ends and tabs become spaces, the rest as in `printable`. */
export function oneLine(text: string): string {
  return printable(stripVTControlCharacters(text).replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' '))
}

/** Escapes the unprintable characters of a line of JSON. They occur within strings only, so the document stays the same. */
export function printableJson(line: string): string {
  return line.replace(unprintable, escaped)
}

/** Shortens text to `charactersMax` UTF-16 units, the last of which is then an ellipsis. */
export function shortened(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax - 1)}…`
}

/**
 * Cleans text of several lines, such as the log of an app. Line ends stay, and a carriage return counts as one, because it
 * would let later text overwrite earlier text. Tabs become spaces. Colours stay if `colors` is set. Every other escape
 * sequence disappears, and other unprintable characters become escapes.
 */
export function printableLines(text: string, options: { readonly colors: boolean }): string {
  return text
    .replace(/\r\n?/g, '\n')
    .split('\n')
    .map((line) => printableLine(line.replaceAll('\t', '    '), options.colors))
    .join('\n')
}

/** The end of a line takes back the colours that began in it. */
function printableLine(line: string, colors: boolean): string {
  let text = ''
  let end = 0
  let isColored = false
  for (const match of line.matchAll(escapeSequence)) {
    text += printable(line.slice(end, match.index))
    end = match.index + match[0].length
    if (!colors || !color.test(match[0])) continue
    text += match[0]
    isColored = match[0] !== '\x1b[0m' && match[0] !== '\x1b[m'
  }
  return `${text}${printable(line.slice(end))}${isColored ? '\x1b[0m' : ''}`
}

/** CSI sequences, strings such as OSC (up to their end, or the end of the line), and escapes of two characters. */
const escapeSequence =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this removes.
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)|\x1b[ -/]*[0-~]/g
/** Sets colours or weight, and nothing else. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this finds.
const color = /^\x1b\[[0-9;:]*m$/

function escaped(char: string): string {
  return Array.from({ length: char.length }, (_, index) => `\\u${hex(char.charCodeAt(index))}`).join('')
}

function hex(unit: number): string {
  return unit.toString(16).padStart(4, '0')
}
