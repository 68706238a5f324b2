import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { needsOpenssl, OpensslCa, p256, rsa2048 } from '../../../test/harness/openssl.ts'
import { type Certificate, parseCertificate } from '../certificate.ts'
import { pemCertificates } from '../pem.ts'
import { askResponder } from './ocsp-responder.ts'

/** OpenSSL as responder, until disposed. */
class OpensslResponder implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly url: Promise<string>

  constructor(args: readonly string[]) {
    this.#child = spawn('openssl', ['ocsp', '-port', '0', '-timeout', '20', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.url = new Promise((resolve, reject) => {
      let said = ''
      const listen = (chunk: Buffer): void => {
        said += chunk.toString()
        const port = /ACCEPT \S*:(\d+)/.exec(said)?.[1]
        if (port) resolve(`http://127.0.0.1:${port}`)
      }
      this.#child.stdout?.on('data', listen)
      this.#child.stderr?.on('data', listen)
      this.#child.once('exit', () => reject(new Error(`openssl ocsp ended:\n${said}`)))
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }
}

const certificateOf = (pem: string): Certificate => parseCertificate(pemCertificates(pem)[0] as Uint8Array)

for (const [kind, key] of [
  ['RSA', rsa2048],
  ['ECDSA', p256],
] as const) {
  test(`OpenSSL's responder tells us of certificates of its ${kind} CA, itself and by a delegate, good, revoked and unknown`, {
    skip: needsOpenssl,
  }, async () => {
    using directory = temporaryDirectory()
    const { file } = directory
    const ca = new OpensslCa(directory.path, 'ca', key)
    const issued = (name: string): Certificate =>
      certificateOf(
        ca.issue(name, { subject: `/CN=${name}`, extensions: ['extendedKeyUsage=clientAuth'] }).certificatePem,
      )
    const [good, revoked, unknown] = [issued('good'), issued('revoked'), issued('unknown')]
    ca.issue('responder', {
      subject: '/CN=responder',
      key,
      extensions: ['extendedKeyUsage=OCSPSigning', 'keyUsage=digitalSignature'],
    })
    writeFileSync(
      file('index.txt'),
      `V\t401231235959Z\t\t${good.serial}\tunknown\t/CN=good\n` +
        `R\t401231235959Z\t260101000000Z,keyCompromise\t${revoked.serial}\tunknown\t/CN=revoked\n`,
    )
    const issuer = certificateOf(ca.certificatePem)
    for (const signer of ['ca', 'responder']) {
      const certificate = file(signer === 'ca' ? 'ca.crt' : 'responder.pem')
      const files = ['-index', file('index.txt'), '-CA', file('ca.crt'), '-rsigner', certificate]
      await using responder = new OpensslResponder([...files, '-rkey', file(`${signer}.key`), '-nmin', '5'])
      const url = await responder.url
      const ask = async (one: Certificate): Promise<string> => {
        const asked = { url, certificate: one, issuer, now: () => Date.now(), deadlineMs: 10_000 }
        return (await askResponder(asked)).answer.status
      }
      assert.equal(await ask(good), 'good')
      assert.equal(await ask(revoked), 'revoked')
      assert.equal(await ask(unknown), 'unknown')
    }
  })
}
