import { execFileSync, spawn } from 'node:child_process'
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { type Issued, issue } from '../../src/identity/pki.ts'
import { validFor } from './certificates.ts'
import { freePort } from './free-port.ts'
import { TestProgram } from './program.ts'

const program = process.env.TRELLIS_STEP_CA

/** Why tests that need step-ca skip. */
export const withoutStepCa = program === undefined ? 'step-ca is not here: it is built where there is Go' : false

const provisioner = 'fleet'

/** A step-ca with a root and an issuing CA, which publishes a revocation list over HTTP. */
export class StepCa implements AsyncDisposable {
  readonly #directory: string
  readonly #port: number
  readonly #key: KeyObject
  readonly #process: TestProgram
  /** The root and the issuing CA. */
  readonly cas: readonly [Issued, Issued]
  readonly crlUrl: string

  private constructor(
    directory: string,
    [port, plainPort]: readonly [number, number],
    key: KeyObject,
    cas: readonly [Issued, Issued],
    started: TestProgram,
  ) {
    this.#directory = directory
    this.#port = port
    this.#key = key
    this.#process = started
    this.cas = cas
    this.crlUrl = `http://127.0.0.1:${plainPort}/1.0/crl`
  }

  static async start(directory: string): Promise<StepCa> {
    if (program === undefined) throw new Error('TRELLIS_STEP_CA names no program')
    const file = (name: string): string => join(directory, name)
    const root = await issue({ commonName: 'Step root', organization: 'Fleet', ca: true, ...validFor(2) })
    const issuing = await issue(
      { commonName: 'Step issuing', organization: 'Fleet', ca: true, pathLength: 0, ...validFor(2) },
      root,
    )
    writeFileSync(file('root.crt'), root.certificatePem)
    writeFileSync(file('issuing.crt'), issuing.certificatePem)
    writeFileSync(file('issuing.key'), createPrivateKey(issuing.keyPem).export({ type: 'sec1', format: 'pem' }), {
      mode: 0o600,
    })
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const ports = [await freePort(), await freePort()] as const
    const jwk = { ...createPublicKey(privateKey).export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: provisioner }
    const configuration = {
      root: file('root.crt'),
      crt: file('issuing.crt'),
      key: file('issuing.key'),
      address: `127.0.0.1:${ports[0]}`,
      insecureAddress: `127.0.0.1:${ports[1]}`,
      dnsNames: ['127.0.0.1'],
      db: { type: 'bbolt', dataSource: file('step.db') },
      crl: { enabled: true, generateOnRevoke: true, cacheDuration: '1h' },
      authority: { provisioners: [{ type: 'JWK', name: provisioner, key: jwk }] },
    }
    writeFileSync(file('ca.json'), JSON.stringify(configuration))
    const child = spawn(program, [file('ca.json')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, STEPPATH: directory, HOME: directory },
    })
    const started = new TestProgram('step-ca', child)
    await started.line(/Serving HTTPS on/)
    return new StepCa(directory, ports, privateKey, [root, issuing], started)
  }

  /** Issues a certificate for a client of this name, with the chain up to below the root. */
  async issue(name: string): Promise<Issued> {
    const key = join(this.#directory, `${name}.key`)
    const csr = execFileSync(
      'openssl',
      [
        ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key],
        ...['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`],
      ],
      { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' },
    )
    const answer = await this.#ask('sign', { csr, ott: this.#token('sign', name, { sans: [name] }) })
    return { certificatePem: chainOf(answer), keyPem: readFileSync(key, 'utf8') }
  }

  /** As a client renews, by the certificate that it has. */
  async renew(issued: Issued): Promise<Issued> {
    const answer = await this.#ask('renew', undefined, issued)
    return { ...issued, certificatePem: chainOf(answer) }
  }

  /** @param serial decimal */
  async revoke(serial: string): Promise<void> {
    await this.#ask('revoke', { serial, ott: this.#token('revoke', serial), passive: true, reasonCode: 1 })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]()
  }

  #token(path: string, subject: string, claims: Readonly<Record<string, unknown>> = {}): string {
    const now = Math.floor(Date.now() / 1000)
    const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const signed = `${base64({ alg: 'ES256', kid: provisioner, typ: 'JWT' })}.${base64({
      ...{ iss: provisioner, aud: `https://127.0.0.1:${this.#port}/1.0/${path}`, sub: subject, jti: randomUUID() },
      ...{ iat: now, nbf: now - 60, exp: now + 240 },
      ...claims,
    })}`
    const signature = sign('sha256', Buffer.from(signed), { key: this.#key, dsaEncoding: 'ieee-p1363' })
    return `${signed}.${signature.toString('base64url')}`
  }

  async #ask(path: string, body: unknown, client?: Issued): Promise<Readonly<Record<string, unknown>>> {
    const asked = request({
      ...{ host: '127.0.0.1', port: this.#port, path: `/1.0/${path}`, method: 'POST', agent: false },
      ...{ ca: this.cas[0].certificatePem, headers: { 'content-type': 'application/json' } },
      ...(client ? { cert: client.certificatePem, key: client.keyPem } : {}),
    })
    asked.end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = await once(asked, 'response')
    const text = Buffer.concat(await Array.fromAsync(response as AsyncIterable<Buffer>)).toString()
    if (response.statusCode >= 300)
      throw new Error(`step-ca ${path}: ${response.statusCode} ${text}\n${this.#process.said}`)
    return JSON.parse(text)
  }
}

function chainOf(answer: Readonly<Record<string, unknown>>): string {
  return (answer.certChain as string[]).join('')
}
