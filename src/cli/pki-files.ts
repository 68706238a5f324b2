import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { wholeNumber } from '../base/options.ts'
import type { Certificate } from '../identity/certificate.ts'
import type { Issued } from '../identity/pki.ts'
import { readCertificates, readClientTls, readTextFile } from '../identity/tls-files.ts'
import type { Output } from './output.ts'

/** The files of the small CA of `flwr pki`. */

/** The CA of that name in a folder; `evenExpired` is for its renewal. Throws a UsageError with the remedy. */
export function readCa(
  directory: string,
  file: string,
  { evenExpired = false }: { evenExpired?: boolean } = {},
): { issued: Issued; certificate: Certificate } {
  const paths = { certificate: join(directory, `${file}.crt`), key: join(directory, `${file}.key`) }
  const missing = Object.values(paths).find((path) => !existsSync(path))
  if (missing !== undefined)
    throw new UsageError(
      `There is no CA in ${directory} (${basename(missing)} is missing): make one with flwr pki init ${directory}.`,
    )
  const certfile = { flag: '--ca', path: paths.certificate }
  const [certificate] = readCertificates(certfile)
  if (!certificate.isCa) throw new UsageError(`--ca: ${paths.certificate} is not the certificate of a CA.`)
  const now = Date.now()
  if (certificate.notAfter <= now && !evenExpired)
    throw new UsageError(
      `The CA in ${paths.certificate} has expired: renew it with flwr pki renew ${file} --ca ${file} --directory ${directory}.`,
    )
  const { material } = readClientTls({
    ...{
      roots: undefined,
      certfile,
      keyfile: { flag: '--ca', path: paths.key },
      now: Math.min(Math.max(now, certificate.notBefore), certificate.notAfter - 1),
    },
  })
  const keyPem = material.certificate?.keyPem as string
  return { issued: { certificatePem: readTextFile(certfile), keyPem }, certificate }
}

/** Writes a certificate and its key, for its owner alone. Nothing that is there is replaced without `force`. It is the last step of a command. */
export function writePair(
  output: Output,
  directory: string,
  names: { certificate: string; key: string },
  made: Issued,
  force: boolean | undefined,
): void {
  const paths = { certificate: join(directory, names.certificate), key: join(directory, names.key) }
  for (const path of Object.values(paths)) {
    if (!force && existsSync(path)) throw new UsageError(`${path} is there already: give --force to replace it.`)
  }
  try {
    mkdirSync(directory, { recursive: true })
    // Removed first: a file that is replaced keeps its permissions.
    for (const path of Object.values(paths)) rmSync(path, { force: true })
    writeFileSync(paths.key, made.keyPem, { mode: 0o600, flag: 'wx' })
    writeFileSync(paths.certificate, made.certificatePem, { flag: 'wx' })
  } catch (cause) {
    const { code, path = directory } = cause as NodeJS.ErrnoException
    throw new UsageError(`${path} cannot be written (${code}): choose another folder.`, { cause })
  }
  output.say(`Wrote ${paths.certificate} and ${paths.key}`)
  output.answer({ success: true, ...paths })
}

/** Replaces a certificate whose key stays. */
export function replaceCertificate(output: Output, path: string, certificatePem: string): void {
  try {
    writeFileSync(`${path}.new`, certificatePem)
    renameSync(`${path}.new`, path)
  } catch (cause) {
    throw new UsageError(`${path} cannot be written (${(cause as NodeJS.ErrnoException).code}).`, { cause })
  }
  output.say(`Wrote ${path}`)
  output.answer({ success: true, certificate: path })
}

/** From five minutes ago, because clocks differ. */
export function validFor(daysText: string): { notBefore: Date; notAfter: Date } {
  const days = wholeNumber(daysText, '--days', { min: 1, max: 36_500 }) as number
  const now = Date.now()
  return { notBefore: new Date(now - 5 * 60_000), notAfter: new Date(now + days * 86_400_000) }
}
