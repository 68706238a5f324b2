import * as asn1js from 'asn1js'
import * as pkijs from 'pkijs'
import { parseCertificate } from '../../src/identity/certificate.ts'
import { judge, noRevocation } from '../../src/identity/judge.ts'
import { pemCertificates } from '../../src/identity/pem.ts'
import { type CertificateRequest, type Issued, issue } from '../../src/identity/pki.ts'
import { defaultPolicy } from '../../src/identity/policy.ts'
import { toTrustBundle } from '../../src/identity/trust.ts'

export const chainNow = Date.parse('2026-11-24T12:00:00Z')
const day = 86_400_000
export const chainValid = { notBefore: new Date(chainNow - day), notAfter: new Date(chainNow + day) }

type Edit = Partial<CertificateRequest>

/** A path of three, and in what it differs from one that is good. */
export interface ChainRequest {
  readonly root?: Edit
  readonly intermediate?: Edit
  readonly leaf?: Edit
  /** What becomes of the leaf's bytes after it was signed. */
  readonly damage?: (der: Uint8Array) => Uint8Array
  /** What is sent and trusted, of what was made. */
  readonly sent?: (made: Chain) => readonly Uint8Array[] | Promise<readonly Uint8Array[]>
  readonly trusted?: (made: Chain) => readonly Uint8Array[] | Promise<readonly Uint8Array[]>
}

export interface Chain {
  readonly root: Issued
  readonly intermediate: Issued
  readonly leaf: Issued
}

export const derOf = ({ certificatePem }: Issued): Uint8Array => pemCertificates(certificatePem)[0] as Uint8Array

export const makeRoot = (edit: Edit = {}): Promise<Issued> =>
  issue({ commonName: 'Root', organization: 'Fleet', ca: true, ...chainValid, ...edit })
export const makeIntermediate = (issuer: Issued, edit: Edit = {}): Promise<Issued> =>
  issue({ commonName: 'Site', organization: 'Fleet', ca: true, ...chainValid, ...edit }, issuer)
export const makeLeaf = (issuer: Issued, edit: Edit = {}): Promise<Issued> =>
  issue({ commonName: 'node-1', organization: 'Hospital', usages: ['client'], ...chainValid, ...edit }, issuer)

const shared = await (async () => {
  const root = await makeRoot()
  const intermediate = await makeIntermediate(root)
  return { root, intermediate, leaf: await makeLeaf(intermediate) }
})()

/** What is sent, leaf first, and what is trusted. */
export async function makeChain(request: ChainRequest): Promise<{ sent: Uint8Array[]; trusted: Uint8Array[] }> {
  const root = request.root ? await makeRoot(request.root) : shared.root
  const isShared = !request.root && !request.intermediate
  const intermediate = isShared ? shared.intermediate : await makeIntermediate(root, request.intermediate)
  const leaf = isShared && !request.leaf ? shared.leaf : await makeLeaf(intermediate, request.leaf)
  const made = { root, intermediate, leaf }
  const sent = (await request.sent?.(made)) ?? [leaf, intermediate].map(derOf)
  const [first = new Uint8Array(), ...rest] = sent
  return {
    sent: [request.damage?.(first) ?? first, ...rest],
    trusted: [...((await request.trusted?.(made)) ?? [derOf(root)])],
  }
}

/** `good`, or the reason of the refusal. */
export function judgeChain({ sent, trusted }: { sent: readonly Uint8Array[]; trusted: readonly Uint8Array[] }): string {
  const peer = judge({
    ...{ chain: sent, trust: toTrustBundle(trusted.map(parseCertificate)), revocation: noRevocation },
    ...{ policy: defaultPolicy, now: chainNow, requireCertificate: true },
  })
  return peer.kind === 'refused' ? peer.reason : 'good'
}

/** Changes the extension of that OID, or leaves it out. */
export function withExtension(
  oid: string,
  change: ((extension: pkijs.Extension) => void) | 'none',
): Required<Pick<CertificateRequest, 'edit'>> {
  return {
    edit(certificate) {
      if (change === 'none') {
        certificate.extensions = (certificate.extensions ?? []).filter(({ extnID }) => extnID !== oid)
        return
      }
      const found = certificate.extensions?.find(({ extnID }) => extnID === oid)
      if (!found) throw new Error(`there is no extension ${oid}`)
      change(found)
    },
  }
}

/** Adds an extension with that content. */
export function addExtension(
  extnID: string,
  value: { toBER(): ArrayBuffer },
  critical = false,
): Required<Pick<CertificateRequest, 'edit'>> {
  return {
    edit: ({ extensions }) =>
      void extensions?.push(new pkijs.Extension({ extnID, critical, extnValue: value.toBER() })),
  }
}

export interface Subtrees {
  readonly permitted?: readonly pkijs.GeneralName[]
  readonly excluded?: readonly pkijs.GeneralName[]
}

/** Name constraints, critical as they must be. */
export function constraints({ permitted, excluded }: Subtrees, critical = true): ReturnType<typeof addExtension> {
  const trees = (names: readonly pkijs.GeneralName[]) => names.map((base) => new pkijs.GeneralSubtree({ base }))
  const value = new pkijs.NameConstraints({
    ...(permitted ? { permittedSubtrees: trees(permitted) } : {}),
    ...(excluded ? { excludedSubtrees: trees(excluded) } : {}),
  })
  return addExtension('2.5.29.30', value.toSchema(), critical)
}

export const dnsName = (value: string): pkijs.GeneralName => new pkijs.GeneralName({ type: 2, value })
export const emailName = (value: string): pkijs.GeneralName => new pkijs.GeneralName({ type: 1, value })
export const uriName = (value: string): pkijs.GeneralName => new pkijs.GeneralName({ type: 6, value })
/** @param bytes address, or address and mask */
export const ipName = (...bytes: number[]): pkijs.GeneralName =>
  new pkijs.GeneralName({ type: 7, value: new asn1js.OctetString({ valueHex: Uint8Array.from(bytes).buffer }) })
export function directoryName(...parts: readonly (readonly [oid: string, value: string])[]): pkijs.GeneralName {
  const typesAndValues = parts.map(
    ([type, value]) => new pkijs.AttributeTypeAndValue({ type, value: new asn1js.PrintableString({ value }) }),
  )
  return new pkijs.GeneralName({ type: 4, value: new pkijs.RelativeDistinguishedNames({ typesAndValues }) })
}

export const oids = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  certificatePolicies: '2.5.29.32',
  authorityKeyId: '2.5.29.35',
  policyConstraints: '2.5.29.36',
  extendedKeyUsage: '2.5.29.37',
  inhibitAnyPolicy: '2.5.29.54',
} as const
export const second = 1000
export const serial = (...bytes: number[]) => ({
  edit: (certificate: pkijs.Certificate) => {
    certificate.serialNumber = new asn1js.Integer({ valueHex: Uint8Array.from(bytes).buffer })
  },
})
export const nameless = {
  edit: (certificate: pkijs.Certificate) => {
    certificate.subject = new pkijs.RelativeDistinguishedNames()
  },
}
export const both = (...edits: readonly { edit: (certificate: pkijs.Certificate) => void }[]) => ({
  edit: (certificate: pkijs.Certificate) => {
    for (const { edit } of edits) edit(certificate)
  },
})
/** Content of an extension that says nothing. */
export const nothing = new asn1js.Null()
export const usage = (...keyPurposes: string[]) =>
  addExtension(
    oids.extendedKeyUsage,
    new asn1js.Sequence({ value: keyPurposes.map((value) => new asn1js.ObjectIdentifier({ value })) }),
  )
export const bits = (byte: number, unusedBits = 0) =>
  new asn1js.BitString({ valueHex: Uint8Array.of(byte).buffer, unusedBits })
export const before = (ms: number) => ({
  notBefore: new Date(chainNow - 86_400_000),
  notAfter: new Date(chainNow - ms),
})
export const after = (ms: number) => ({ notBefore: new Date(chainNow + ms), notAfter: new Date(chainNow + 86_400_000) })
/** Replaces a byte from the end, which is in the signature, or one within what is signed. */
export const flip = (at: number) => (der: Uint8Array) => {
  const copy = Uint8Array.from(der)
  const index = at < 0 ? copy.length + at : at
  copy[index] = (copy[index] as number) ^ 1
  return copy
}
