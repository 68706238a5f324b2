import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Why tests that need the `openssl` program cannot run here, or `false`. */
export const needsOpenssl = spawnSync('openssl', ['version']).error ? 'openssl is not installed' : false

export interface OpensslRequest {
  /** As `-subj` takes it. */
  readonly subject: string
  /** Arguments for `openssl genpkey`. */
  readonly key?: readonly string[]
  /** Lines of an extension section. */
  readonly extensions?: readonly string[]
  readonly digest?: string
}

export const rsa2048 = ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'] as const
export const p256 = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'] as const

/** The places of the signing requests that were made, by all that they depend on. */
const requests = new Map<string, number>()

/** A CA whose certificates the `openssl` program makes, as an operator without tools of ours would. */
export class OpensslCa {
  readonly #directory: string
  readonly name: string

  constructor(directory: string, name = 'openssl-ca', key: readonly string[] = rsa2048) {
    this.#directory = directory
    this.name = name
    this.#openssl('genpkey', ...key, '-out', this.#file(`${name}.key`))
    this.#openssl(
      ...['req', '-x509', '-new', '-key', this.#file(`${name}.key`), '-days', '2', '-subj', `/O=Fleet/CN=${name}`],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign', '-out', this.#file(`${name}.crt`)],
    )
  }

  get certificatePem(): string {
    return readFileSync(this.#file(`${this.name}.crt`), 'utf8')
  }

  issue(name: string, request: OpensslRequest): { certificatePem: string; keyPem: string } {
    const { subject, key = p256, extensions = [], digest = 'sha256' } = request
    const [keyFile, requestFile] = this.#request(name, subject, key)
    writeFileSync(this.#file(`${name}.ext`), `${extensions.join('\n')}\n`)
    this.#openssl(
      ...['x509', '-req', '-in', requestFile, '-CA', this.#file(`${this.name}.crt`), '-CAkey'],
      ...[this.#file(`${this.name}.key`), '-CAcreateserial', '-days', '1', `-${digest}`],
      ...['-extfile', this.#file(`${name}.ext`), '-out', this.#file(`${name}.pem`)],
    )
    return {
      certificatePem: readFileSync(this.#file(`${name}.pem`), 'utf8'),
      keyPem: readFileSync(keyFile, 'utf8'),
    }
  }

  /**
   * A revocation list, as `openssl ca -gencrl` makes it.
   *
   * @param revoked serial numbers and, of each, the reason as the index of `openssl ca` has it.
   * @param extensions lines of an extension section, beside the number.
   */
  crl(revoked: Readonly<Record<string, string>>, extensions: readonly string[] = [], number = '05'): string {
    const entries = Object.entries(revoked)
    const index = entries.map(([serial, why]) => `R\t401231235959Z\t260101000000Z,${why}\t${serial}\tunknown\t/CN=x\n`)
    writeFileSync(this.#file('index.txt'), index.join(''))
    writeFileSync(this.#file('crlnumber'), `${number}\n`)
    writeFileSync(
      this.#file('ca.cnf'),
      `[ca]\ndefault_ca=own\n[own]\ndatabase=${this.#file('index.txt')}\ncrlnumber=${this.#file('crlnumber')}\n` +
        `default_md=sha256\ncrl_extensions=ext\n[ext]\nauthorityKeyIdentifier=keyid\n${extensions.join('\n')}\n` +
        '[indirect]\nindirectCRL=TRUE\n[part]\nonlyuser=TRUE\n',
    )
    const [config, list] = [this.#file('ca.cnf'), this.#file('list.pem')]
    const signer = ['-cert', this.#file(`${this.name}.crt`), '-keyfile', this.#file(`${this.name}.key`)]
    this.#openssl('ca', '-gencrl', '-config', config, ...signer, '-crldays', '1', '-out', list)
    return readFileSync(list, 'utf8')
  }

  /** Makes a key and a signing request. A request like an earlier one of that name is that one, for another certificate. */
  #request(name: string, subject: string, key: readonly string[]): readonly [keyFile: string, requestFile: string] {
    const place = requests.getOrInsertComputed(
      JSON.stringify([this.#directory, name, subject, key]),
      () => requests.size,
    )
    const files = [this.#file(`${name}-${place}.key`), this.#file(`${name}-${place}.csr`)] as const
    if (!existsSync(files[1])) {
      this.#openssl('genpkey', ...key, '-out', files[0])
      this.#openssl('req', '-new', '-utf8', '-key', files[0], '-subj', subject, '-out', files[1])
    }
    copyFileSync(files[0], this.#file(`${name}.key`))
    return files
  }

  #file(name: string): string {
    return join(this.#directory, name)
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  }
}
