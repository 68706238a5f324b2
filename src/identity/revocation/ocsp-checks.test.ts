import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../../test/harness/recording-logger.ts'
import { type Certificate, parseCertificate } from '../certificate.ts'
import { noRevocation } from '../judge.ts'
import { pemCertificates } from '../pem.ts'
import { type CertificateRequest, type Issued, issue } from '../pki.ts'
import type { OcspAnswer } from './ocsp.ts'
import { OcspChecks, type OcspOptions } from './ocsp-checks.ts'
import { SilentResponder } from './ocsp-responder.ts'

const minute = 60_000
const url = 'http://ocsp.test'

const made = new FakeClock()
const validity = { notBefore: new Date(made.now() - minute), notAfter: new Date(made.now() + 9e8) }
const ca = await issue({ commonName: 'CA', ca: true, ...validity })
const issuer = certificateOf(ca)
const issued = async (request: Partial<CertificateRequest> = {}): Promise<Certificate> =>
  certificateOf(await issue({ commonName: 'node', usages: ['client'], ...validity, ocspUrl: url, ...request }, ca))
const leaf = await issued()

function certificateOf({ certificatePem }: Issued): Certificate {
  return parseCertificate(pemCertificates(certificatePem)[0] as Uint8Array)
}

type Reply = OcspAnswer['status'] | Error | Promise<never>

class Site {
  readonly clock = new FakeClock()
  readonly asked: string[] = []
  reply: Reply = 'good'
  thisUpdate: number | undefined
  readonly checks: OcspChecks

  constructor(options: Partial<OcspOptions> = {}) {
    this.checks = new OcspChecks({
      ...{ mode: 'strict', url: undefined, clock: this.clock, log: recordingLogger().log, lists: () => noRevocation },
      ask: async (asked) => {
        this.asked.push(asked.url)
        const reply = await this.reply
        if (reply instanceof Error) throw reply
        const thisUpdate = this.thisUpdate ?? this.clock.now()
        return { answer: { status: reply, thisUpdate, nextUpdate: thisUpdate + 10 * minute }, der: new Uint8Array() }
      },
      ...options,
    })
  }

  async verdict(certificate = leaf): Promise<string> {
    await this.checks.learn([{ certificate, issuer }])
    return this.known(certificate)
  }

  known(certificate = leaf, source: Pick<OcspChecks, 'check'> = this.checks): string {
    return source.check(certificate, issuer, this.clock.now())?.reason ?? 'passes'
  }
}

test('an answer is asked for once and kept until it is due', async () => {
  const site = new Site()
  assert.equal(await site.verdict(), 'passes')
  assert.equal(await site.verdict(), 'passes')
  assert.equal(site.asked.length, 1)
  site.clock.advance(11 * minute)
  assert.equal(await site.verdict(), 'passes')
  assert.equal(site.asked.length, 2)
})

test('a certificate that its responder calls revoked or unknown is refused, in lax mode too', async () => {
  for (const mode of ['lax', 'strict'] as const) {
    const site = new Site({ mode })
    site.reply = 'revoked'
    assert.equal(await site.verdict(), 'revoked-by-ocsp')
    const other = new Site({ mode })
    other.reply = 'unknown'
    assert.equal(await other.verdict(), 'revocation-unknown')
  }
})

test('of a responder that is silent lax lets pass what strict does not', async () => {
  for (const [mode, expected] of [
    ['lax', 'passes'],
    ['strict', 'revocation-unknown'],
  ] as const) {
    const site = new Site({ mode })
    site.reply = new SilentResponder('did not answer in 3 s')
    assert.equal(await site.verdict(), expected)
    const { about = '' } = site.checks.check(leaf, issuer, site.clock.now()) ?? {}
    if (mode === 'strict') assert.match(about, /http:\/\/ocsp\.test did not answer in 3 s/)
  }
})

test('without a responder lax lets pass, strict says what is missing, and the address of the operator goes first', async () => {
  const none = certificateOf(await issue({ commonName: 'node', usages: ['client'], ...validity }, ca))
  assert.equal(await new Site({ mode: 'lax' }).verdict(none), 'passes')
  const strict = new Site()
  assert.equal(await strict.verdict(none), 'revocation-unknown')
  assert.deepEqual(strict.asked, [])
  const own = new Site({ url: 'http://own.test' })
  assert.equal(await own.verdict(leaf), 'passes')
  assert.deepEqual(own.asked, ['http://own.test'])
  const intermediate = await issued({ ca: true })
  // It is asked about by the address in it, and passes where it has none.
  assert.equal(await own.verdict(intermediate), 'passes')
  assert.deepEqual(own.asked, ['http://own.test', url])
})

test('revoked stays revoked while the responder is silent, however long, and until a newer answer says otherwise', async () => {
  const site = new Site()
  site.reply = 'revoked'
  assert.equal(await site.verdict(), 'revoked-by-ocsp')
  site.reply = new SilentResponder('refuses connections')
  site.clock.advance(3 * 60 * minute)
  assert.equal(await site.verdict(), 'revoked-by-ocsp')
  site.clock.advance(minute)
  site.reply = 'good'
  site.thisUpdate = made.now() - minute
  // A recorded answer from before.
  assert.equal(await site.verdict(), 'revoked-by-ocsp')
  site.clock.advance(minute)
  site.thisUpdate = undefined
  assert.equal(await site.verdict(), 'passes')
})

test('a good answer outlives its time by no more than clocks differ', async () => {
  const site = new Site()
  assert.equal(await site.verdict(), 'passes')
  site.reply = new SilentResponder('refuses connections')
  site.clock.advance(12 * minute)
  assert.equal(await site.verdict(), 'passes')
  site.clock.advance(4 * minute)
  assert.equal(await site.verdict(), 'revocation-unknown')
})

test('a silent responder is not asked about every new certificate, one that sends invalid responses is', async () => {
  const site = new Site()
  const others = await Promise.all([issued(), issued(), issued()])
  site.reply = new SilentResponder('refuses connections')
  await site.verdict()
  for (const other of others) assert.equal(await site.verdict(other), 'revocation-unknown')
  assert.equal(site.asked.length, 1)
  site.clock.advance(5000)
  site.reply = new Error('sent an answer that is not believed')
  for (const other of others) await site.verdict(other)
  assert.equal(site.asked.length, 4)
})

test('a hundred newcomers are asked about a few at a time, and a responder that takes long does not hold up another', async () => {
  const site = new Site()
  let running = 0
  let most = 0
  const slow = Promise.withResolvers<void>()
  const asking = new Site({
    ask: async ({ url: to }) => {
      most = Math.max(most, ++running)
      if (to === url) await slow.promise
      running -= 1
      const thisUpdate = site.clock.now()
      return { answer: { status: 'good', thisUpdate, nextUpdate: thisUpdate + minute }, der: new Uint8Array() }
    },
  })
  const newcomers = await Promise.all(Array.from({ length: 100 }, () => issued()))
  const waiting = newcomers.map((certificate) => asking.checks.learn([{ certificate, issuer }]))
  const other = await issued({ ocspUrl: 'http://other.test' })
  assert.equal(await asking.verdict(other), 'passes')
  assert.equal(running, 16)
  slow.resolve()
  await Promise.all(waiting)
  for (const newcomer of newcomers) assert.equal(asking.known(newcomer), 'passes')
  assert.equal(most, 17)
})

test('no connection waits for a responder for longer than ten seconds', async () => {
  const site = new Site()
  site.reply = new Promise<never>(() => {})
  let isOver = false
  const learning = site.checks.learn([{ certificate: leaf, issuer }])?.then(() => {
    isOver = true
  })
  site.clock.advance(9999)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(isOver, false)
  site.clock.advance(1)
  await learning
  assert.equal(site.known(), 'revocation-unknown')
})

test('while one certificate is asked about, another that is known is judged at once', async () => {
  const site = new Site()
  const known = await issued()
  assert.equal(await site.verdict(known), 'passes')
  site.reply = new Promise<never>(() => {})
  assert.notEqual(site.checks.learn([{ certificate: leaf, issuer }]), undefined)
  // Questions about the same certificate are shared.
  assert.notEqual(site.checks.learn([{ certificate: leaf, issuer }]), undefined)
  assert.equal(site.checks.learn([{ certificate: known, issuer }]), undefined)
  assert.equal(site.known(known), 'passes')
  assert.equal(site.asked.length, 2)
})

test('what is in use is asked again before it is due, and a revocation is noticed; what is not in use is left alone', async () => {
  const site = new Site()
  await site.verdict()
  assert.equal(await site.checks.refresh(), false)
  assert.equal(site.asked.length, 1)
  site.clock.advance(9 * minute + 5000)
  assert.equal(site.known(), 'passes')
  site.reply = 'revoked'
  assert.equal(await site.checks.refresh(), true)
  assert.equal(site.known(), 'revoked-by-ocsp')
  site.clock.advance(10 * minute)
  assert.equal(await site.checks.refresh(), false)
  assert.equal(site.asked.length, 2)
})

test('the operator can have everything asked again', async () => {
  const site = new Site()
  await site.verdict()
  site.checks.askAgain()
  site.reply = 'revoked'
  assert.equal(await site.checks.refresh(), true)
  assert.equal(site.known(), 'revoked-by-ocsp')
})

test('an open connection is not cut off before its responder was asked, but after its response', async () => {
  const site = new Site()
  assert.equal(site.known(leaf, site.checks.open), 'passes')
  assert.equal(site.known(leaf), 'revocation-unknown')
  site.reply = new SilentResponder('refuses connections')
  assert.equal(await site.checks.refresh(), true)
  assert.equal(site.known(leaf, site.checks.open), 'revocation-unknown')
})
