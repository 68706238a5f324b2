import { isIPv4 } from 'node:net'
import type { SubjectNames } from './certificate.ts'
import type { ReadExtensions } from './certificate-extensions.ts'
import { extensionOids } from './certificate-extensions.ts'
import type { CertificateFields } from './certificate-fields.ts'
import { type GeneralName, generalNameText, generalNameTypes } from './general-name.ts'
import { type ConstrainedNames, isHostName } from './name-constraints.ts'

/** Names beside the subject, as values and as constraints see them. */
export function readAltNames(all: readonly GeneralName[]): { names: SubjectNames; constrainedNames: ConstrainedNames } {
  const ofType = (wanted: number): GeneralName[] => all.filter(({ type }) => type === wanted)
  const texts = (type: number): string[] => ofType(type).map((name) => ascii(generalNameText(name)))
  const hexes = (type: number): string[] => ofType(type).map(({ content }) => Buffer.from(content).toString('hex'))
  const types = generalNameTypes
  const [emails, dns, uris] = [texts(types.email), texts(types.dns), texts(types.uri)]
  return {
    names: { emails, dns, uris, ips: ofType(types.ip).map(({ content }) => ipText(content)) },
    constrainedNames: {
      ...{ emails, dns, uris },
      ips: hexes(types.ip),
      directories: hexes(types.directory),
      hasOthers: all.some(({ type }) => !comparedTypes.includes(type)),
    },
  }
}

const comparedTypes: readonly number[] = Object.values(generalNameTypes)

interface Form extends ReadExtensions {
  readonly names: SubjectNames
  readonly fields: CertificateFields
  readonly hasSubject: boolean
}

/** The first thing in which a certificate is not as RFC 5280 wants it, as the rest of a sentence. */
export function flawOf(form: Form): string | undefined {
  return serialFlaw(form) ?? subjectFlaw(form) ?? usageFlaw(form) ?? altNameFlaw(form)
}

function serialFlaw({ fields: { serial, extensions, version } }: Form): string | undefined {
  const digits = serial[0] === 0 ? serial.subarray(1) : serial
  if (((serial[0] ?? 0) & 0x80) !== 0 || digits.every((byte) => byte === 0))
    return 'has a serial number that is not positive'
  if (digits.length > 20) return 'has a serial number of more than 20 bytes'
  return extensions.size > 0 && version !== 2 ? 'has extensions, but not the version for them' : undefined
}

function subjectFlaw({ hasSubject, isCa, fields }: Form): string | undefined {
  if (hasSubject) return undefined
  if (isCa) return 'is a CA without a name'
  // A reader that ignores alternative names would find no name at all.
  return fields.extensions.get(extensionOids.subjectAltName)?.isCritical
    ? undefined
    : 'has no subject, and alternative names that are not marked critical'
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
  if (altNames.length === 0) return 'has an alternative name extension without a name'
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
