import { isIPv4 } from 'node:net'
import type * as pkijs from 'pkijs'
import type { Certificate, SubjectNames } from './certificate.ts'
import { type ConstrainedNames, isHostName } from './name-constraints.ts'

/** Names beside the subject, as values and as constraints see them. */
export function readAltNames(all: readonly pkijs.GeneralName[]): {
  names: SubjectNames
  constrainedNames: ConstrainedNames
} {
  const ofType = (type: number): pkijs.GeneralName[] => all.filter((name) => name.type === type)
  const texts = (type: number): string[] => ofType(type).map((name) => ascii(String(name.value)))
  const [emails, dns, uris] = [texts(1), texts(2), texts(6)]
  const ips = ofType(7).map(({ value }): Uint8Array => value.valueBlock.valueHexView)
  const directories = ofType(4).map(({ value }) => (value as pkijs.RelativeDistinguishedNames).toSchema().toBER())
  return {
    names: { emails, dns, uris, ips: ips.map(ipText) },
    constrainedNames: {
      ...{ emails, dns, uris },
      ips: ips.map((bytes) => Buffer.from(bytes).toString('hex')),
      directories: directories.map((der) => Buffer.from(der).toString('hex')),
      hasOthers: all.some(({ type }) => ![1, 2, 4, 6, 7].includes(type)),
    },
  }
}

interface Form
  extends Pick<
    Certificate,
    'subject' | 'names' | 'isCa' | 'pathLength' | 'keyUsages' | 'extendedKeyUsages' | 'nameConstraints'
  > {
  readonly parsed: pkijs.Certificate
  /** `undefined` where there are none. */
  readonly altNames: { readonly isCritical: boolean; readonly count: number } | undefined
}

/** The first thing in which a certificate is not as RFC 5280 wants it, as the rest of a sentence. */
export function flawOf(form: Form): string | undefined {
  return serialFlaw(form) ?? subjectFlaw(form) ?? usageFlaw(form) ?? altNameFlaw(form)
}

function serialFlaw({ parsed }: Form): string | undefined {
  const bytes = parsed.serialNumber.valueBlock.valueHexView
  const digits = bytes[0] === 0 ? bytes.subarray(1) : bytes
  if (((bytes[0] ?? 0) & 0x80) !== 0 || digits.every((byte) => byte === 0))
    return 'has a serial number that is not positive'
  if (digits.length > 20) return 'has a serial number of more than 20 bytes'
  const hasExtensions = parsed.extensions !== undefined && parsed.extensions.length > 0
  return hasExtensions && parsed.version !== 2 ? 'has extensions, but not the version for them' : undefined
}

function subjectFlaw({ parsed, isCa, altNames }: Form): string | undefined {
  if (parsed.subject.typesAndValues.length > 0) return undefined
  if (isCa) return 'is a CA without a name'
  // A reader that ignores alternative names would find no name at all.
  return altNames?.isCritical ? undefined : 'has no subject, and alternative names that are not marked critical'
}

function usageFlaw({ isCa, pathLength, keyUsages, extendedKeyUsages, nameConstraints }: Form): string | undefined {
  if (keyUsages?.size === 0) return 'has a key that may be used for nothing'
  if (extendedKeyUsages?.length === 0) return 'has an extended key usage that names none'
  if (isCa) return undefined
  if (keyUsages?.has('keyCertSign')) return 'may sign certificates, but is no CA'
  if (pathLength !== undefined) return 'limits a path, but is no CA'
  return nameConstraints ? 'constrains names, but is no CA' : undefined
}

function altNameFlaw({ names, altNames }: Form): string | undefined {
  if (!altNames) return undefined
  if (altNames.count === 0) return 'has an alternative name extension without a name'
  const host = names.dns.find((name) => !isHostName(name.replace(/^\*\./, '')) || isIPv4(name))
  return host === undefined ? undefined : `has the DNS name '${host.slice(0, 100)}', which is not a host name`
}

function ascii(text: string): string {
  if (/[^\0-\x7f]/.test(text)) throw new Error('a subject alternative name is not ASCII')
  return text
}

function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: bytes.length >> 1 }, (_, index) => Buffer.from(bytes).readUInt16BE(index * 2))
  return groups.map((group) => group.toString(16)).join(':')
}
