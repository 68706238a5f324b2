import { alignedRows } from './page/markdown.ts'
import type { Rows } from './tables.ts'

/** Prints rows in columns that line up. */
export function printTable(rows: Rows): void {
  for (const line of alignedRows(rows)) process.stdout.write(`${line}\n`)
}
