/**
 * Damages bytes in every place: cuts them off there, replaces the byte, and inserts or drops one. Then replaces one to four
 * bytes in random places, `changes` times. Never yields the bytes as they were.
 */
export function* damaged(bytes: Uint8Array, random: (below: number) => number, changes: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at++) {
    const [before, rest] = [bytes.subarray(0, at), bytes.subarray(at + 1)]
    const byte = bytes[at] as number
    yield before
    if (at % 2 === 0) yield Buffer.concat([before, Buffer.of(random(256)), bytes.subarray(at)])
    else yield Buffer.concat([before, rest])
    yield Buffer.concat([before, Buffer.of(byte ^ (1 + random(255))), rest])
  }
  for (let count = 0; count < changes; count++) {
    const copy = Uint8Array.from(bytes)
    for (let change = 0; change <= random(4); change++) {
      const at = random(copy.length)
      copy[at] = (copy[at] as number) ^ (1 + random(255))
    }
    // Two changes of one place can undo each other.
    if (Buffer.compare(copy, bytes) !== 0) yield copy
  }
}
