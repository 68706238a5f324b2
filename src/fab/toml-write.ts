import { pythonFloat } from '../base/python-float.ts'
import { type OrderedTable, type OrderedValue, TomlDateText } from './ordered-toml.ts'

/**
 * Writes TOML in the one layout that Flower's builder gives `pyproject.toml`: values before sub-tables, arrays one element a
 * line, a blank line between tables. Any other layout would give the same app another hash.
 */
export function writeToml(table: OrderedTable): string {
  return tableText(table, '', false)
}

function tableText(table: OrderedTable, name: string, isRow: boolean): string {
  const pairs: string[] = []
  const tables: (readonly [key: string, table: OrderedTable, isRow: boolean])[] = []
  for (const [key, value] of table) {
    if (value instanceof Map) tables.push([key, value, false])
    else if (isTableArray(value) && !value.every(fitsInline))
      tables.push(...value.map((row) => [key, row, true] as const))
    else pairs.push(`${keyText(key)} = ${valueText(value, 0)}\n`)
  }
  const needsHeader = isRow || (name !== '' && (pairs.length > 0 || tables.length === 0))
  const header = !needsHeader ? '' : isRow ? `[[${name}]]\n` : `[${name}]\n`
  const ownText = header + pairs.join('')
  const subTables = tables.map(([key, sub, subIsRow]) =>
    tableText(sub, name === '' ? keyText(key) : `${name}.${keyText(key)}`, subIsRow),
  )
  return [...(ownText === '' ? [] : [ownText]), ...subTables].join('\n')
}

function isTableArray(value: OrderedValue): value is OrderedTable[] {
  return Array.isArray(value) && value.length > 0 && value.every((item) => item instanceof Map)
}

/** A row of an array of tables stays in its array if it fits into a line. */
function fitsInline(row: OrderedTable): boolean {
  const text = `${indentOf(1)}${valueText(row, 0)},`
  return [...text].length <= lineLengthMax && !text.includes('\n')
}

const lineLengthMax = 100

function valueText(value: OrderedValue, depth: number): string {
  if (typeof value === 'string') return stringText(value)
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return pythonFloat(value)
  if (value instanceof TomlDateText) return dateText(value.text)
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]'
    const items = value.map((item) => `${indentOf(depth + 1)}${valueText(item, depth + 1)}`)
    return `[\n${items.join(',\n')},\n${indentOf(depth)}]`
  }
  // Arrays within an inline table are indented from the margin again.
  const pairs = [...value].map(([key, item]) => `${keyText(key)} = ${valueText(item, 0)}`)
  return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`
}

function indentOf(depth: number): string {
  return '    '.repeat(depth)
}

function keyText(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : stringText(key)
}

/** Tabs stay as they are. */
function stringText(text: string): string {
  const escapes: Readonly<Record<string, string>> = {
    '"': '\\"',
    '\\': '\\\\',
    '\b': '\\b',
    '\n': '\\n',
    '\f': '\\f',
    '\r': '\\r',
  }
  const escaped = text.replace(
    /["\\]|(?![\t\u0080-\u009f])\p{Cc}/gu,
    (char) => escapes[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return `"${escaped}"`
}

/** As Python prints dates: a space before the time, seconds always, fractions of none or six digits, offsets in numbers. */
function dateText(text: string): string {
  const [, date, time, fraction = '', offset = ''] =
    /^(\d{4}-\d\d-\d\d)?[Tt ]?(?:(\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?)?([Zz]|[+-]\d\d:\d\d)?$/.exec(text) ?? []
  const micros = fraction.padEnd(6, '0').slice(0, 6)
  const seconds =
    time === undefined ? '' : `${time}${time.length === 5 ? ':00' : ''}${Number(micros) === 0 ? '' : `.${micros}`}`
  const zone = /^[Zz]$|^-00:00$/.test(offset) ? '+00:00' : offset
  return [date, seconds].filter(Boolean).join(' ') + zone
}
