import { writeFileSync } from 'node:fs'
import type { TestCa } from './certificates.ts'
import { start, type TestProgram } from './program.ts'

/** The responder of `flwr pki` for the CA of a test. */
export async function startResponder(ca: TestCa): Promise<{ responder: TestProgram; url: string }> {
  writeFileSync(`${ca.directory}/ca.key`, ca.issued.keyPem, { mode: 0o600 })
  const responder = start('flwr', ['pki', 'ocsp', '--directory', ca.directory, '--address', '127.0.0.1:0'])
  const [, url = ''] = await responder.line(/at (http:\S+)/)
  return { responder, url }
}
