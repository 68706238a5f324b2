/**
 * The NPY file format (numpy.lib.format): header written byte for byte as numpy does, so that equal arrays have equal
 * object ids on every platform. Reading accepts versions 1 to 3, either byte order and both memory orders.
 */

export interface NpyHeader {
  /** The type string of numpy, e.g. `<f4`. */
  readonly descr: string
  readonly fortranOrder: boolean
  readonly shape: readonly number[]
  /** Where the values start. */
  readonly dataOffset: number
}

const magic = Buffer.from('\x93NUMPY', 'latin1')
const alignment = 64
/** In numpy there is room for the slowest axis to grow to 21 digits. */
const growthDigits = 21

export function npyHeader(descr: string, shape: readonly number[], fortranOrder: boolean): Uint8Array {
  const shapeText = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`
  let text = `{'descr': '${descr}', 'fortran_order': ${fortranOrder ? 'True' : 'False'}, 'shape': ${shapeText}, }`
  const slowest = fortranOrder ? shape.at(-1) : shape[0]
  if (slowest !== undefined) text += ' '.repeat(Math.max(0, growthDigits - String(slowest).length))
  const unpadded = magic.length + 4 + text.length + 1
  text += `${' '.repeat(alignment - (unpadded % alignment))}\n`
  const header = Buffer.alloc(magic.length + 4 + text.length)
  magic.copy(header)
  header.writeUInt8(1, 6)
  header.writeUInt8(0, 7)
  header.writeUInt16LE(text.length, 8)
  header.write(text, 10, 'latin1')
  return header
}

export function parseNpy(data: Uint8Array): NpyHeader {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (bytes.length < 10 || !bytes.subarray(0, 6).equals(magic)) throw new TypeError('Not an NPY array.')
  const version = bytes.readUInt8(6)
  if (version < 1 || version > 3) throw new TypeError(`NPY version ${version} is not supported.`)
  const start = version === 1 ? 10 : 12
  const length = version === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8)
  const dataOffset = start + length
  if (dataOffset > bytes.length) throw new TypeError('The NPY header is cut short.')
  const text = bytes.toString(version === 3 ? 'utf8' : 'latin1', start, dataOffset)
  const descr = /'descr'\s*:\s*'([^']+)'/.exec(text)?.[1]
  const fortran = /'fortran_order'\s*:\s*(True|False)/.exec(text)?.[1]
  const shape = /'shape'\s*:\s*\(([\d\s,]*)\)/.exec(text)?.[1]
  if (!descr || !fortran || shape === undefined) throw new TypeError('The NPY header is not understood.')
  return {
    descr,
    fortranOrder: fortran === 'True',
    shape: shape
      .split(',')
      .map((part) => part.trim())
      .filter(Boolean)
      .map(Number),
    dataOffset,
  }
}
