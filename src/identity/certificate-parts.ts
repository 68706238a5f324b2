import { fromBER } from 'asn1js'
import * as pkijs from 'pkijs'

/** Parses certificates and their extensions with pkijs, and no part of them twice: that is a third of what a connection costs. */

/**
 * As pkijs parses a certificate, but strings of bytes are not tried as ASN.1 as well: the value of an extension is parsed when it
 * is read. Throws an Error if the bytes are no certificate.
 */
export function parsedCertificate(der: Uint8Array): pkijs.Certificate {
  const { offset, result } = fromBER(der as Uint8Array<ArrayBuffer>, { parseEmbedded: false })
  if (offset === -1) throw new Error('not encoded as a certificate is')
  return new pkijs.Certificate({ schema: result })
}

/** Most certificates of a fleet have the same key usages and the same CA. The oldest values give way. */
const recentValues = new Map<string, unknown>()
const recentValuesMax = 256
const recentValueBytesMax = 256

/** The value of an extension; `undefined` if there is no extension. Throws an Error if it cannot be read. */
export function parsedValue<T>(extension: pkijs.Extension | undefined): T | undefined {
  if (!extension) return undefined
  const { extnID, extnValue } = extension
  const bytes = extnValue.valueBlock.valueHexView
  const key = `${extnID} ${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')}`
  const value = recentValues.get(key) ?? extension.parsedValue
  if (!value) throw new Error(`extension ${extnID} cannot be read`)
  if (bytes.length > recentValueBytesMax) return value as T
  recentValues.delete(key)
  recentValues.set(key, value)
  if (recentValues.size > recentValuesMax) recentValues.delete(recentValues.keys().next().value as string)
  return value as T
}
