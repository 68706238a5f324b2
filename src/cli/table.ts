import { stripVTControlCharacters } from 'node:util'
import { oneLine } from '../base/printable.ts'
import { paint } from './output.ts'

/** Rows of text in aligned columns under a header. Cells are never cut: ids must be copied whole. */
export function table(header: readonly string[], cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map(oneLine))
  const widths = header.map((title, column) => Math.max(width(title), ...rows.map((row) => width(row[column] ?? ''))))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell + ' '.repeat((widths[column] as number) - width(cell)))
      .join('   ')
      .trimEnd()
  return [
    paint('bold', line(header)),
    paint('dim', widths.map((size) => '─'.repeat(size)).join('───')),
    ...rows.map(line),
  ].join('\n')
}

/** Names and values, one pair a line. */
export function details(pairs: readonly (readonly [string, string])[]): string {
  const size = Math.max(...pairs.map(([name]) => name.length))
  return pairs.map(([name, value]) => `${paint('bold', name.padEnd(size))}   ${oneLine(value)}`).join('\n')
}

function width(text: string): number {
  return [...stripVTControlCharacters(text)].length
}
