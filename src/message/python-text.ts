import { pythonFloat } from '../base/python-float.ts'

/**
 * Values of records as Python prints them, so that logs read the same on either side. Whether a number is a float is for
 * the caller to say, JavaScript does not know. Bytes are not shown.
 */
export function pythonText(value: unknown, isFloat: boolean): string {
  if (Array.isArray(value)) return `[${value.map((item) => pythonText(item, isFloat)).join(', ')}]`
  if (typeof value === 'number' && isFloat) return pythonFloat(value)
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (value instanceof Uint8Array) return '<bytes>'
  return typeof value === 'string' ? pythonString(value) : String(value)
}

/** A string literal: in single quotes, unless that would need a backslash and double ones would not. */
export function pythonString(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const body = text.replace(/[\\'"]|[\p{C}\p{Z}]/gu, (character) => {
    if (character === ' ' || ((character === "'" || character === '"') && character !== quote)) return character
    return escapes[character] ?? codeEscape(character.codePointAt(0) as number)
  })
  return quote + body + quote
}

const escapes: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  "'": "\\'",
  '"': '\\"',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

function codeEscape(code: number): string {
  const hex = code.toString(16)
  if (code <= 0xff) return `\\x${hex.padStart(2, '0')}`
  return code <= 0xffff ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`
}
