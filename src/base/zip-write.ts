import { crc32 } from 'node:zlib'

/**
 * Writes the one form of ZIP that FABs have: stored members with a fixed date and mode, so that the same app gives the same
 * bytes (and thereby the same hash) from Flower's builder and from ours, on any day.
 */
export function writeStoredZip(members: readonly (readonly [path: string, content: Uint8Array])[]): Uint8Array {
  const locals: Uint8Array[] = []
  const centrals: Uint8Array[] = []
  let offset = 0
  for (const [path, content] of members) {
    const name = Buffer.from(path)
    // The flag says that the name is UTF-8.
    const flags = name.length === path.length ? 0 : 0x0800
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(flags, 2)
    common.writeUInt16LE(0, 4)
    common.writeUInt16LE(dosTime, 6)
    common.writeUInt16LE(dosDate, 8)
    common.writeUInt32LE(crc32(content), 10)
    common.writeUInt32LE(content.length, 14)
    common.writeUInt32LE(content.length, 18)
    common.writeUInt16LE(name.length, 22)
    locals.push(Buffer.from('PK\x03\x04'), common, name, content)

    const central = Buffer.alloc(14)
    central.writeUInt32LE(externalAttributes, 6)
    central.writeUInt32LE(offset, 10)
    centrals.push(Buffer.from('PK\x01\x02'), Buffer.from([20, 3]), common, central, name)
    offset += 4 + 26 + name.length + content.length
  }
  const directory = Buffer.concat(centrals)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(members.length, 8)
  end.writeUInt16LE(members.length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...locals, directory, end])
}

/** 2024-10-01 00:00:00 */
const dosDate = 0x5941
const dosTime = 0
/** Mode 0600. */
const externalAttributes = 0x01800000
