import { ArrayRecord, type RecordDict } from './records.ts'

/** About how much memory the contents of records take. */
export function recordBytes(records: RecordDict): number {
  let bytes = 0
  for (const [name, record] of records) {
    bytes += textBytes(name)
    if (record instanceof ArrayRecord) for (const [key, array] of record) bytes += textBytes(key) + array.data.length
    else for (const [key, wire] of record.wireEntries()) bytes += textBytes(key) + valueBytes(wire.value.value)
  }
  return bytes
}

/** An entry of a map costs more than its characters. */
const entryBytes = 64

const textBytes = (text: string): number => entryBytes + 2 * text.length

function valueBytes(value: unknown): number {
  if (typeof value === 'string') return textBytes(value)
  if (value instanceof Uint8Array) return entryBytes + value.length
  if (typeof value === 'bigint') return 24
  if (typeof value !== 'object' || value === null) return 8
  const { vals } = value as { readonly vals: readonly unknown[] }
  let bytes = entryBytes
  for (const one of vals) bytes += valueBytes(one)
  return bytes
}
