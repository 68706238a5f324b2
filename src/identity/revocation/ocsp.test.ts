import assert from 'node:assert/strict'
import { test } from 'node:test'
import { damaged } from '../../../test/harness/damage.ts'
import { processorMs } from '../../../test/harness/processor-time.ts'
import { randomFrom } from '../../../test/harness/random.ts'
import { type Certificate, parseCertificate } from '../certificate.ts'
import { pemCertificates } from '../pem.ts'
import { type CertificateRequest, type Issued, issue } from '../pki.ts'
import { answerOcsp, type OcspKnowledge } from '../pki-ocsp.ts'
import { serialKey } from './crl.ts'
import { type OcspQuestion, ocspRequest, readOcspResponse } from './ocsp.ts'

const now = Date.UTC(2026, 5, 1)
const hour = 3_600_000
const validity = { notBefore: new Date(now - 24 * hour), notAfter: new Date(now + 24 * hour) }
const nonce = Buffer.alloc(32, 7)

const ca = await issue({ commonName: 'CA', ca: true, ...validity })
const namesake = await issue({ commonName: 'CA', ca: true, ...validity })
const leaf = certificateOf(await issue({ commonName: 'node', usages: ['client'], ...validity }, ca))
const other = certificateOf(await issue({ commonName: 'other', usages: ['client'], ...validity }, ca))

function certificateOf({ certificatePem }: Issued): Certificate {
  return parseCertificate(pemCertificates(certificatePem)[0] as Uint8Array)
}

const responder = (request: Partial<CertificateRequest> = {}, issuer = ca): Promise<Issued> =>
  issue({ commonName: 'responder', usages: ['ocsp'], ...validity, ...request }, issuer)

interface Case {
  readonly knowledge?: Partial<OcspKnowledge>
  readonly asked?: Partial<Parameters<typeof ocspRequest>[2]>
  readonly about?: Certificate
  readonly question?: Partial<OcspQuestion>
}

async function response({ knowledge = {}, asked = {}, about = leaf }: Case): Promise<Uint8Array> {
  const request = ocspRequest(about, certificateOf(knowledge.ca ?? ca), { digest: 'sha1', nonce, ...asked })
  return answerOcsp(request, {
    ...{ ca, signer: knowledge.ca ?? ca, now: new Date(now), nextUpdate: new Date(now + hour) },
    revoked: (serial) => (serial === serialKey(leaf.serial) ? { at: new Date(now - hour), reason: 1 } : undefined),
    ...knowledge,
  })
}

async function read(given: Case): Promise<string> {
  const question = { certificate: given.about ?? leaf, issuer: certificateOf(ca), now, nonce, ...given.question }
  return readOcspResponse(await response(given), question).status
}

test('a signed answer tells revoked and good apart, by either digest, with a nonce and without, from the CA or its responder', async () => {
  assert.equal(await read({}), 'revoked')
  assert.equal(await read({ about: other }), 'good')
  assert.equal(await read({ asked: { digest: 'sha256' } }), 'revoked')
  const request = ocspRequest(other, certificateOf(ca), { digest: 'sha256' })
  const der = await answerOcsp(request, { ca, signer: ca, revoked: () => undefined, now: new Date(now) })
  // The responder knows of no nonces; its answer is of this time.
  assert.equal(readOcspResponse(der, { certificate: other, issuer: certificateOf(ca), now, nonce }).status, 'good')
  const signer = await responder()
  assert.equal(await read({ knowledge: { signer } }), 'revoked')
  assert.equal(await read({ about: other, knowledge: { signer } }), 'good')
  const { thisUpdate, nextUpdate } = readOcspResponse(await response({}), {
    ...{ certificate: leaf, issuer: certificateOf(ca), now, nonce },
  })
  assert.deepEqual([thisUpdate, nextUpdate], [now, now + hour])
})

const unbelieved: readonly (readonly [name: string, given: Case | (() => Promise<Case>), error: RegExp])[] = [
  ['the request of another client', { question: { nonce: Buffer.alloc(32, 8) } }, /answers another request/],
  ['another certificate', { question: { certificate: other } }, /does not speak of this certificate/],
  [
    'a CA of the same name with another key',
    { question: { issuer: certificateOf(namesake) } },
    /neither the issuer nor/,
  ],
  ['that CA itself', { knowledge: { ca: namesake } }, /neither the issuer nor/],
  ['last week', { question: { now: now + 2 * hour } }, /outdated/],
  [
    'a day ago, without saying until when it is good',
    { knowledge: { nextUpdate: undefined as never }, question: { now: now + 25 * hour } },
    /outdated/,
  ],
  ['tomorrow', { question: { now: now - hour } }, /of the future/],
  [
    'a responder that was certified for clients',
    async () => ({ knowledge: { signer: await responder({ usages: ['client'] }) } }),
    /neither/,
  ],
  [
    'a responder without any purpose',
    async () => ({ knowledge: { signer: await responder({ usages: [] }) } }),
    /neither|cannot be read/,
  ],
  ['a responder of another CA', async () => ({ knowledge: { signer: await responder({}, namesake) } }), /neither/],
  [
    'a responder that signed its own certificate',
    async () => ({ knowledge: { signer: await issue({ commonName: 'CA', usages: ['ocsp'], ...validity }) } }),
    /neither/,
  ],
  [
    'a responder whose certificate has expired',
    async () => ({ knowledge: { signer: await responder({ notAfter: new Date(now - hour) }) } }),
    /neither/,
  ],
  [
    'a responder whose certificate is not valid yet',
    async () => ({ knowledge: { signer: await responder({ notBefore: new Date(now + hour) }) } }),
    /neither/,
  ],
  [
    'a responder that may not sign',
    async () => ({ knowledge: { signer: await responder({ keyUsage: 0x20 }) } }),
    /neither/,
  ],
  [
    'a responder with an unknown extension',
    async () => ({ knowledge: { signer: await responder({ criticalExtension: '1.2.3.4' }) } }),
    /neither/,
  ],
  [
    'a responder that a list has revoked',
    async () => ({ knowledge: { signer: await responder() }, question: { isRevoked: () => true } }),
    /neither/,
  ],
]

for (const [name, given, error] of unbelieved) {
  test(`an answer of ${name} is not believed`, async () => {
    const asked = typeof given === 'function' ? await given() : given
    await assert.rejects(read(asked), error)
  })
}

test('a refusal of a responder is not taken for a response', async () => {
  const question = { certificate: leaf, issuer: certificateOf(ca), now }
  const ofAnother = ocspRequest(leaf, certificateOf(namesake), { digest: 'sha1' })
  const refused = await answerOcsp(ofAnother, { ca, signer: ca, revoked: () => undefined, now: new Date(now) })
  assert.throws(() => readOcspResponse(refused, question), /answers 'unauthorized'/)
  const unread = await answerOcsp(Uint8Array.of(1, 2, 3), {
    ca,
    signer: ca,
    revoked: () => undefined,
    now: new Date(now),
  })
  assert.throws(() => readOcspResponse(unread, question), /answers 'malformed request'/)
})

test('a response that is damaged in any place is never believed for more than what was signed, and none takes long', async () => {
  const signer = await responder()
  const responses = await Promise.all([response({}), response({ knowledge: { signer } })])
  const question = { certificate: leaf, issuer: certificateOf(ca), now, nonce }
  const random = randomFrom(20261125)
  let rounds = 0
  let longestMs = 0
  for (const der of responses) {
    for (const bytes of damaged(der, random, 200)) {
      let status = 'refused'
      const tookMs = processorMs(() => {
        try {
          ;({ status } = readOcspResponse(bytes, question))
        } catch (error) {
          assert.ok(
            error instanceof Error && !(error instanceof TypeError) && !(error instanceof RangeError),
            String(error),
          )
        }
      })
      assert.ok(status === 'refused' || status === 'revoked', `damage ${rounds} made it ${status}`)
      longestMs = Math.max(longestMs, tookMs)
      rounds++
    }
  }
  assert.ok(rounds > 2000, `${rounds} rounds`)
  assert.ok(longestMs < 1000, `${longestMs} ms of processor time for one`)
})
