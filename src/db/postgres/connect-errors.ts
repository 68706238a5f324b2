import { errorText, UsageError } from '../../base/errors.ts'
import type { PostgresTarget } from './target.ts'

/** What PostgreSQL and the network say about a connection, in words for the operator. */

/** Codes of PostgreSQL and of the system after which a connection is tried again. */
const passing: readonly string[] = [
  ...[
    'ECONNREFUSED',
    'ECONNRESET',
    'EPIPE',
    'ENOENT',
    'ENOTFOUND',
    'EAI_AGAIN',
    'ETIMEDOUT',
    'EHOSTUNREACH',
    'ENETUNREACH',
  ],
  // Shutdown, crash, start, too many connections, a session ended for being idle.
  ...['57P01', '57P02', '57P03', '53300', '25P03', '57P05'],
]

export function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' ? code : ''
}

/** The server refuses one more connection although it has others of this SuperLink: its password was changed, for instance. */
export class ConnectionRefused extends Error {}

/** Whether the connection is lost or could not be made, and may be made later. */
export function isConnectionLoss(error: unknown): boolean {
  if (error instanceof ConnectionRefused) return true
  if (error instanceof UsageError) return false
  const code = codeOf(error)
  if (passing.includes(code) || code.startsWith('08')) return true
  if (error instanceof AggregateError) return error.errors.some(isConnectionLoss)
  return /connection terminated|connection error|not queryable|timeout expired|timeout exceeded|read timeout|Connection ended/i.test(
    errorText(error),
  )
}

/** The reason of a lost connection: several addresses of a host fail with an error for each. */
export function lossText(error: unknown): string {
  return error instanceof AggregateError ? lossText(error.errors[0]) : errorText(error)
}

/** The sentence for an operator whose database refuses the connection, with a remedy. */
export function explainRefusal(error: unknown, { label, user, database, host }: PostgresTarget): UsageError {
  if (error instanceof UsageError) return error
  const text = errorText(error)
  const say = (what: string): UsageError => new UsageError(`The database ${label} ${what}`, { cause: error })
  if (/no pg_hba\.conf entry/.test(text))
    return say(`does not admit this user from here (${text}): add a line to its pg_hba.conf.`)
  switch (codeOf(error)) {
    case '28P01':
      return say(`refuses the password of ${user}: correct it in the passfile or in PGPASSWORD.`)
    case '28000':
      return say(`refuses the user ${user} (${text}): correct the user, or the certificate of sslcert.`)
    case '3D000':
      return say(`does not exist: create it with createdb --owner ${user} ${database}, or correct --database.`)
    case '42501':
      return say(`gives ${user} too few rights (${text}): make ${user} the owner of the database ${database}.`)
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return say(`has a certificate of another name than ${host} (${text}): use a name of the certificate as the host.`)
    case 'CERT_HAS_EXPIRED':
      return say(`has a certificate that has expired (${text}): renew the certificate of the server.`)
    case 'CERT_NOT_YET_VALID':
      return say(`has a certificate that is not valid yet (${text}): set the clock of this machine, or of its CA.`)
  }
  if (/does not support SSL/i.test(text))
    return say('serves no TLS: switch it on there (ssl = on), or add ?sslmode=disable if the network is trusted.')
  if (/certificate|CERT_|SELF_SIGNED|UNABLE_TO_VERIFY/i.test(`${text} ${codeOf(error)}`))
    return say(`has a certificate that is not trusted (${text}): name its CA with ?sslrootcert=FILE.`)
  if (/password/i.test(text))
    return say(`asks for a password: name a file that holds it with ?passfile=FILE, or set PGPASSWORD.`)
  return say(`cannot be used (${text}): check --database and the log of the database.`)
}
