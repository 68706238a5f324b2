/** Prints rows in columns that line up. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const columns = Math.max(...rows.map((cells) => cells.length))
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((cells) => cells[column]?.length ?? 0)),
  )
  for (const cells of rows) {
    const line = cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('   ')
    process.stdout.write(`${line.trimEnd()}\n`)
  }
}
