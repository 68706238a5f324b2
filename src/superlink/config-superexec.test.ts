import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { UsageError } from '../base/errors.ts'
import type { OptionValues } from '../base/options.ts'
import { readSuperexecs } from './config-superexec.ts'

const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())
const secretFile = directory.file('secret')
writeFileSync(secretFile, 'the secret')

const local = '127.0.0.1:8000'
const everywhere = '0.0.0.0:8000'
const process = { isolation: 'process' }
const secret = { superexecAuthSecretFile: secretFile }
const insecure = { insecure: true }
const at = (address: string): OptionValues => ({ serverappioApiAddress: address })

function read(values: OptionValues, mainAddress = local) {
  const warnings: string[] = []
  const { appioAddress, superexecSecret } = readSuperexecs(values, mainAddress, warnings)
  return { appioAddress, hasSecret: superexecSecret !== undefined, warnings: warnings.join('\n') }
}

test('ServerAppIo opens where Flower has it if --insecure or a secret is given', () => {
  const open = read({ ...process, ...insecure })
  assert.equal(open.appioAddress, '0.0.0.0:9091')
  assert.match(open.warnings, /reaches 0\.0\.0\.0:9091 can take the tasks of runs: give --superexec-auth-secret-file/)

  const withSecret = read({ ...process, ...secret }, everywhere)
  assert.deepEqual([withSecret.appioAddress, withSecret.hasSecret], ['0.0.0.0:9091', true])
  assert.match(withSecret.warnings, /has no TLS: models travel in clear/)

  assert.deepEqual(read({ ...process, ...secret, ...insecure, ...at(local) }), {
    appioAddress: local,
    hasSecret: true,
    warnings: '',
  })
})

test('with TLS and no secret ServerAppIo stays closed, and one line names the flags', () => {
  const closed = read(process)
  assert.equal(closed.appioAddress, undefined)
  assert.match(
    closed.warnings,
    /stays closed.*--superexec-auth-secret-file.*--serverappio-api-address 127\.0\.0\.1:9091/,
  )
  assert.equal(closed.warnings.split('\n').length, 1)
  // A SuperExec on this machine needs no secret, and the SuperLink serves its fleet everywhere.
  for (const mainAddress of [local, everywhere])
    assert.deepEqual(read({ ...process, ...at('127.0.0.1:9091') }, mainAddress), {
      appioAddress: '127.0.0.1:9091',
      hasSecret: false,
      warnings: '',
    })
})

test('with TLS and no secret an address that other machines reach refuses the start', () => {
  const refused: readonly [OptionValues, string, RegExp][] = [
    [process, everywhere, /--host and --port 0\.0\.0\.0:8000 could take the tasks.*--superexec-auth-secret-file/],
    [process, 'superlink:8000', /--host and --port superlink:8000/],
    [{ ...process, ...at('0.0.0.0:9091') }, local, /--serverappio-api-address 0\.0\.0\.0:9091 could take the tasks/],
  ]
  for (const [values, mainAddress, sentence] of refused)
    assert.throws(
      () => read(values, mainAddress),
      (error) => error instanceof UsageError && sentence.test(error.message),
      String(sentence),
    )
})

test('with subprocess a secret of the operator has no effect, and that is said', () => {
  for (const mainAddress of [local, everywhere]) {
    assert.deepEqual(read({ isolation: 'subprocess' }, mainAddress), {
      appioAddress: undefined,
      hasSecret: false,
      warnings: '',
    })
  }
  const ignored = read({ isolation: 'subprocess', ...secret })
  assert.equal(ignored.hasSecret, false)
  assert.match(ignored.warnings, /ignored with --isolation subprocess: only the SuperLink's own SuperExec/)
})
