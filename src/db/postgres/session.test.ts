import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { explainRefusal } from './connect-errors.ts'
import { prepareSession } from './session.ts'
import { parsePostgresUrl } from './target.ts'

const target = parsePostgresUrl('postgres://flower@db.example/flower?sslmode=require', {})

/** A server that says this of itself. */
function serverWith(facts: object): pg.ClientBase {
  const row = { version: 15, encoding: 'UTF8', is_copy: 0, commits: 'on', ...facts }
  return { query: async () => ({ rows: [row] }) } as unknown as pg.ClientBase
}

test('a server or database that is not fit for a SuperLink is refused in one sentence with a remedy', async () => {
  const refusals: readonly (readonly [object, RegExp])[] = [
    [{ version: 13 }, /is one of PostgreSQL 13: upgrade it to 14 or later\.$/],
    [{ encoding: 'SQL_ASCII' }, /has the encoding SQL_ASCII: create another one with createdb --encoding UTF8/],
    [{ is_copy: 1 }, /is a standby, which cannot be written: name the primary server\.$/],
  ]
  for (const [facts, sentence] of refusals)
    await assert.rejects(prepareSession(serverWith(facts), target), (error: Error) => {
      assert.match(error.message, sentence)
      assert.match(error.message, /^The database postgres:\/\/flower@db\.example:5432\/flower [^\n]*$/)
      return error.name === 'Error' || error.name === 'UsageError'
    })
})

test('what a server says of a refused connection becomes one sentence with a remedy', () => {
  const refusals: readonly (readonly [string, string, RegExp])[] = [
    ['28P01', 'password authentication failed', /refuses the password of flower: correct it in the passfile or in/],
    ['3D000', 'database "flower" does not exist', /does not exist: create it with createdb --owner flower flower,/],
    [
      '28000',
      'certificate authentication failed',
      /refuses the user flower \(.*\): correct .* the certificate of sslcert/,
    ],
    [
      '28000',
      'no pg_hba.conf entry for host "10.0.0.1"',
      /does not admit this user from here .*: add a line to its pg_h/,
    ],
    [
      '42501',
      'permission denied for schema public',
      /gives flower too few rights .*: make flower the owner of the data/,
    ],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'Hostname does not match', /has a certificate of another name than db\.example/],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'self-signed certificate', /not trusted .*: name its CA with \?sslrootcert=FILE/],
    ['CERT_HAS_EXPIRED', 'certificate has expired', /has expired .*: renew the certificate of the server/],
    ['CERT_NOT_YET_VALID', 'certificate is not yet valid', /not valid yet .*: set the clock of this machine/],
    ['', 'The server does not support SSL connections', /serves no TLS: switch it on there \(ssl = on\), or add/],
    ['', 'client password must be a string', /asks for a password: name a file that holds it with \?passfile=FILE/],
    ['XX000', 'something else', /cannot be used \(something else\): check --database and the log of the database/],
  ]
  for (const [code, text, sentence] of refusals) {
    const { message } = explainRefusal(Object.assign(new Error(text), { code }), target)
    assert.match(message, sentence)
    assert.doesNotMatch(message, /\n/)
  }
})
