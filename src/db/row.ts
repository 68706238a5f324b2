/**
 * Both engines have signed 64-bit integers, our ids are unsigned. The conversion lives here alone: columns that end in `_id`
 * are ids and come back as unsigned bigints; every other integer comes back as a number.
 */
export function toStored(value: unknown): unknown {
  if (typeof value === 'bigint') return BigInt.asIntN(64, value)
  if (typeof value === 'boolean') return value ? 1 : 0
  return value
}

export function fromStored(row: Record<string, unknown>): Record<string, unknown> {
  for (const column in row) {
    const value = row[column]
    if (typeof value === 'bigint') row[column] = column.endsWith('_id') ? BigInt.asUintN(64, value) : Number(value)
  }
  return row
}
