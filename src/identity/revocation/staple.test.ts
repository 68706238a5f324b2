import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseCertificate } from '../certificate.ts'
import { pemCertificates } from '../pem.ts'
import { type Issued, issue } from '../pki.ts'
import { answerOcsp, type OcspKnowledge } from '../pki-ocsp.ts'
import { ocspRequest } from './ocsp.ts'
import { stapleFault } from './staple.ts'

const now = Date.UTC(2026, 5, 1)
const hour = 3_600_000
const validity = { notBefore: new Date(now - hour), notAfter: new Date(now + 9 * hour) }
const ca = await issue({ commonName: 'CA', ca: true, ...validity })
const namesake = await issue({ commonName: 'CA', ca: true, ...validity })
const derOf = ({ certificatePem }: Issued): Uint8Array => pemCertificates(certificatePem)[0] as Uint8Array
const chain = [derOf(await issue({ commonName: 'server', usages: ['server'], ...validity }, ca)), derOf(ca)]
const [server, issuer] = chain.map(parseCertificate) as [
  ReturnType<typeof parseCertificate>,
  ReturnType<typeof parseCertificate>,
]

const staple = (knowledge: Partial<OcspKnowledge> = {}): Promise<Uint8Array> =>
  answerOcsp(ocspRequest(server, issuer, { digest: 'sha1' }), {
    ...{ ca, signer: ca, revoked: () => undefined, now: new Date(now), nextUpdate: new Date(now + hour) },
    ...knowledge,
  })

test('a stapled answer speaks for its server, against it, or is not to be believed', async () => {
  assert.equal(stapleFault(await staple(), chain, now), undefined)
  const revoked = await staple({ revoked: () => ({ at: new Date(now), reason: 1 }) })
  assert.match(stapleFault(revoked, chain, now) ?? '', /has been revoked/)
  assert.match(
    stapleFault(await staple({ signer: namesake }), chain, now) ?? '',
    /not to be believed: neither the issuer/,
  )
  assert.match(stapleFault(await staple(), chain, now + 2 * hour) ?? '', /not to be believed: it is outdated/)
  assert.match(stapleFault(Buffer.from('answer'), chain, now) ?? '', /not to be believed/)
})

test('a responder that had no answer speaks neither for nor against', async () => {
  const refusal = await answerOcsp(Uint8Array.of(1), { ca, signer: ca, revoked: () => undefined, now: new Date(now) })
  assert.equal(stapleFault(refusal, chain, now), undefined)
})
