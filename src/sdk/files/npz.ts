import { limits } from '../../base/limits.ts'
import { readZip, ZipFault } from '../../base/zip-read.ts'
import { writeStoredZip } from '../../base/zip-write.ts'
import { NdArray, numpyStype } from '../../message/nd-array.ts'
import { ArrayRecord } from '../../message/records.ts'

/**
 * Returns the bytes of an `.npz` file with these arrays, which `numpy.load` reads. Throws a TypeError for arrays of another
 * framework, and for names that occur twice.
 *
 * @example
 * await writeFile('model.npz', encodeNpz(result.arrays))
 */
export function encodeNpz(arrays: ArrayRecord): Uint8Array {
  const members = [...arrays].map(([name, array]) => {
    if (array.stype !== numpyStype)
      throw new TypeError(`The array '${name}' is of stype '${array.stype}': an .npz file holds arrays of numpy only.`)
    return [`${name}.npy`, array.data] as const
  })
  const bytes = members.reduce((sum, [, { length }]) => sum + length, 0)
  if (bytes >= limits.arrayFileBytesMax)
    throw new RangeError(`${bytes} bytes are too many for one .npz file: write several, or a safetensors file.`)
  if (members.length >= zipMembersMax)
    throw new RangeError(
      `${members.length} arrays are too many for one .npz file: write several, or a safetensors file.`,
    )
  return writeStoredZip(members)
}

/** The count in the form of ZIP that is written has 16 bits. */
const zipMembersMax = 0xffff

/**
 * Reads an `.npz` file, of `numpy.savez` or `numpy.savez_compressed`: untrusted ones too. Each array keeps its bytes, and with
 * them byte order and memory order. Throws a TypeError if the file is damaged, holds Python objects, or more than `bytesMax`
 * bytes (4 GiB) when unpacked.
 *
 * @example
 * const model = await decodeNpz(await readFile('model.npz'))
 */
export async function decodeNpz(
  bytes: Uint8Array,
  { bytesMax = limits.arrayFileBytesMax }: { bytesMax?: number } = {},
): Promise<ArrayRecord> {
  const arrays = new ArrayRecord()
  for (const [path, data] of await members(bytes, bytesMax)) {
    const name = path.replace(/\.npy$/, '')
    if (arrays.has(name)) throw new TypeError(`The .npz file holds the array '${name}' twice.`)
    arrays.set(name, toArray(name, data))
  }
  return arrays
}

async function members(bytes: Uint8Array, bytesMax: number): Promise<Map<string, Uint8Array>> {
  try {
    return await readZip(bytes, { bytesMax, membersMax: limits.arrayFileArraysMax })
  } catch (error) {
    if (error instanceof ZipFault) throw new TypeError(`Not a valid .npz file: ${error.message}.`, { cause: error })
    throw error
  }
}

function toArray(name: string, data: Uint8Array): NdArray {
  try {
    const { dtype, shape } = new NdArray({ dtype: '', shape: [], stype: numpyStype, data }).stored()
    return new NdArray({ dtype, shape, stype: numpyStype, data })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new TypeError(`'${name}' in the .npz file cannot be read: ${why}`, { cause: error })
  }
}
