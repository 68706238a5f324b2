/** The objects of a small message as one value: each one with its length in front. */

const lengthBytes = 4

/** Returns how many bytes `joinObjects` makes of objects with these lengths. */
export function joinedLength(lengths: Iterable<number>): number {
  let bytes = 0
  for (const length of lengths) bytes += lengthBytes + length
  return bytes
}

/** Joins objects in one value. */
export function joinObjects(objects: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(joinedLength(objects.map(({ length }) => length)))
  const view = new DataView(joined.buffer)
  let position = 0
  for (const bytes of objects) {
    view.setUint32(position, bytes.length)
    joined.set(bytes, position + lengthBytes)
    position += lengthBytes + bytes.length
  }
  return joined
}

/** Returns the objects of a joined value as views of it. Throws a RangeError if the value is damaged. */
export function splitObjects(joined: Uint8Array): Uint8Array[] {
  const view = new DataView(joined.buffer, joined.byteOffset, joined.length)
  const objects: Uint8Array[] = []
  for (let position = 0; position < joined.length; ) {
    const start = position + lengthBytes
    position = start + view.getUint32(position)
    if (position > joined.length) throw new RangeError('The joined objects are cut off.')
    objects.push(joined.subarray(start, position))
  }
  return objects
}
