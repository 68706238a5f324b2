import { type AST, ParseError, parseTOML } from 'toml-eslint-parser'
import { TomlFault } from '../base/toml.ts'

/**
 * TOML as its author wrote it: keys in the order of their first mention, which JavaScript objects do not keep for keys like
 * `10`, and dates as text, which the `Date` of JavaScript cuts to milliseconds. Only what a FAB is made of needs this.
 */
export type OrderedTable = Map<string, OrderedValue>
export type OrderedValue = string | boolean | bigint | number | TomlDateText | OrderedValue[] | OrderedTable

export class TomlDateText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** Throws a TomlFault. The caller has checked the size and depth of the text. */
export function parseOrderedToml(text: string): OrderedTable {
  let program: AST.TOMLProgram
  try {
    program = parseTOML(text.replaceAll('\r\n', '\n'), { tomlVersion: '1.1' })
  } catch (error) {
    if (error instanceof ParseError) throw new TomlFault(`${error.message}, line ${error.lineNumber}`, { cause: error })
    throw error
  }
  const root: OrderedTable = new Map()
  for (const part of program.body[0].body) {
    if (part.type === 'TOMLKeyValue') setPair(root, part)
    else {
      const table = openTable(root, part)
      for (const pair of part.body) setPair(table, pair)
    }
  }
  return root
}

function openTable(root: OrderedTable, { key, kind }: AST.TOMLTable): OrderedTable {
  const names = key.keys.map(nameOf)
  if (kind === 'standard') return descend(root, names)
  const last = names.pop() as string
  const parent = descend(root, names)
  const rows = parent.get(last) as OrderedTable[] | undefined
  const row: OrderedTable = new Map()
  if (rows) rows.push(row)
  else parent.set(last, [row])
  return row
}

/** The table at a path, created where it is missing. Of an array of tables it is the last row so far. */
function descend(from: OrderedTable, names: readonly string[]): OrderedTable {
  let table = from
  for (const name of names) {
    let next = table.get(name)
    if (next === undefined) {
      next = new Map()
      table.set(name, next)
    }
    table = (Array.isArray(next) ? next.at(-1) : next) as OrderedTable
  }
  return table
}

function setPair(table: OrderedTable, { key, value }: AST.TOMLKeyValue): void {
  const names = key.keys.map(nameOf)
  const last = names.pop() as string
  descend(table, names).set(last, valueIn(value))
}

function nameOf(key: AST.TOMLBare | AST.TOMLQuoted): string {
  return key.type === 'TOMLBare' ? key.name : key.value
}

function valueIn(node: AST.TOMLContentNode): OrderedValue {
  if (node.type === 'TOMLArray') return node.elements.map(valueIn)
  if (node.type === 'TOMLInlineTable') {
    const table: OrderedTable = new Map()
    for (const pair of node.body) setPair(table, pair)
    return table
  }
  if (node.kind === 'integer') return node.bigint
  return node.kind === 'string' || node.kind === 'boolean' || node.kind === 'float'
    ? node.value
    : new TomlDateText(node.datetime)
}
