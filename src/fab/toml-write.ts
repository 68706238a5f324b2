import { TomlDate } from 'smol-toml'
import { pythonFloat } from '../base/python-float.ts'

type Table = { readonly [key: string]: unknown }

/**
 * TOML in the one layout that Flower's builder gives `pyproject.toml`: values before sub-tables, arrays one element a
 * line. smol-toml writes valid TOML too, but other bytes, and then the same app would have another hash.
 */
export function writeToml(table: Table): string {
  return section(table, []).join('\n')
}

function section(table: Table, path: readonly string[]): string[] {
  const lines: string[] = []
  const tables: [string, unknown][] = []
  for (const [key, value] of Object.entries(table)) {
    if (isTable(value) || (isTableArray(value) && !fitsInline(value))) tables.push([key, value])
    else lines.push(`${writeKey(key)} = ${writeValue(value, '')}\n`)
  }
  const own = lines.length > 0 || tables.length === 0
  const blocks =
    path.length > 0 && own
      ? [`[${path.map(writeKey).join('.')}]\n${lines.join('')}`]
      : lines.length > 0
        ? [lines.join('')]
        : []
  for (const [key, value] of tables) {
    const name = [...path, key]
    if (isTable(value)) blocks.push(...section(value, name))
    else for (const row of value as Table[]) blocks.push(...arrayRow(row, name))
  }
  return blocks
}

function arrayRow(row: Table, name: readonly string[]): string[] {
  const [first = '', ...rest] = section(row, name)
  return [
    first.startsWith('[')
      ? `[${first.replace(/^(\[[^\n]*\])/, '$1]')}`
      : `[[${name.map(writeKey).join('.')}]]\n${first}`,
    ...rest,
  ]
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof TomlDate)
}

function isTableArray(value: unknown): value is Table[] {
  return Array.isArray(value) && value.length > 0 && value.every(isTable)
}

function fitsInline(rows: readonly Table[]): boolean {
  return rows.every((row) => `    ${writeValue(row, '')},`.length <= 100)
}

function writeKey(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : writeString(key)
}

function writeValue(value: unknown, indent: string): string {
  if (typeof value === 'string') return writeString(value)
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return pythonFloat(value)
  if (value instanceof TomlDate) return value.toISOString()
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]'
    const inner = `${indent}    `
    return `[\n${value.map((item) => `${inner}${writeValue(item, inner)},\n`).join('')}${indent}]`
  }
  const pairs = Object.entries(value as Table).map(([key, item]) => `${writeKey(key)} = ${writeValue(item, indent)}`)
  return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`
}

function writeString(text: string): string {
  const escapes: Record<string, string> = {
    '"': '\\"',
    '\\': '\\\\',
    '\b': '\\b',
    '\t': '\\t',
    '\n': '\\n',
    '\f': '\\f',
    '\r': '\\r',
  }
  const escaped = text.replace(
    /["\\]|(?=[^\u0080-\u009f])\p{Cc}/gu,
    (char) => escapes[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return `"${escaped}"`
}
