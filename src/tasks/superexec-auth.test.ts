import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { inMemory, openDatabase } from '../db/database.ts'
import { signSuperexecCall } from '../identity/superexec-signature.ts'
import type { Call } from '../rpc/call.ts'
import { SuperexecGate, type SuperexecRules } from './superexec-auth.ts'

const method = '/flwr.proto.Runtime/AcquireTask'
const body = Buffer.from('request')
const secret = Buffer.from('the secret of the operator')
const refused = { code: 'token-invalid' }

function setUp(rules: Partial<SuperexecRules>) {
  const db = openDatabase({ path: inMemory })
  const clock = new FakeClock()
  const gate = new SuperexecGate({ isolation: 'process', secret: undefined, insecure: false, ...rules }, { db, clock })
  return { gate, clock, [Symbol.asyncDispose]: () => db.close() }
}

function callWith(headers: Readonly<Record<string, string>>): Call {
  const header = (name: string) => (headers[name] === undefined ? [] : [headers[name]])
  return { method, requestBytes: body, header } as unknown as Call
}

function signed(key: Uint8Array, clock: FakeClock, what = body): Call {
  const { timestamp, nonce, bodySha256, signature } = signSuperexecCall(key, method, what, clock.now())
  return callWith({
    'flwr-superexec-ts': timestamp,
    'flwr-superexec-nonce': nonce,
    'flwr-superexec-body-sha256': bodySha256,
    'flwr-superexec-signature': signature,
  })
}

test('with subprocess only the holder of the secret of this start takes tasks, at every address and without TLS too', async () => {
  for (const insecure of [true, false]) {
    await using server = setUp({ isolation: 'subprocess', secret, insecure })
    const { gate, clock } = server
    assert.ok(gate.ownSecret && gate.ownSecret.length >= 32)
    for (const host of ['127.0.0.1', '0.0.0.0']) {
      const check = gate.checkAt(host)
      await check(signed(gate.ownSecret, clock))
      await assert.rejects(check(callWith({})), refused)
      await assert.rejects(check(signed(secret, clock)), refused, 'the file of the operator has no effect')
    }
  }
})

test('every start has a secret of its own', async () => {
  await using first = setUp({ isolation: 'subprocess' })
  await using second = setUp({ isolation: 'subprocess' })
  assert.notDeepEqual(first.gate.ownSecret, second.gate.ownSecret)
  await assert.rejects(
    second.gate.checkAt('127.0.0.1')(signed(first.gate.ownSecret as Uint8Array, first.clock)),
    refused,
  )
})

test('with process and a secret, a loopback address and --insecure are no way around it', async () => {
  await using server = setUp({ secret, insecure: true })
  assert.equal(server.gate.ownSecret, undefined)
  const check = server.gate.checkAt('127.0.0.1')
  await check(signed(secret, server.clock))
  await assert.rejects(check(callWith({})), refused)
})

test('with process and without a secret, tasks are handed out at loopback addresses, or anywhere with --insecure', async () => {
  const accepted = async (host: string, insecure: boolean): Promise<boolean> => {
    await using server = setUp({ insecure })
    return server.gate
      .checkAt(host)(callWith({}))
      .then(
        () => true,
        () => false,
      )
  }
  for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost'])
    assert.equal(await accepted(host, false), true, host)
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'superlink', '127.0.0.1.example.com']) {
    assert.equal(await accepted(host, false), false, host)
    assert.equal(await accepted(host, true), true, host)
  }
})

for (const isolation of ['subprocess', 'process'] as const) {
  test(`a signature is good for one call, for its own body and for five minutes (${isolation})`, async () => {
    await using server = setUp({ isolation, secret })
    const { gate, clock } = server
    const key = gate.ownSecret ?? secret
    const check = gate.checkAt('127.0.0.1')
    const call = signed(key, clock)
    await check(call)
    await assert.rejects(check(call), refused)
    await assert.rejects(check(signed(key, clock, Buffer.from('another'))), refused)
    const old = signed(key, clock)
    clock.advance(304_000)
    await check(old)
    await assert.rejects(check(call), refused, 'a repeated call is refused as long as its signature is good')
    const tooOld = signed(key, clock)
    clock.advance(306_000)
    await assert.rejects(check(tooOld), refused)
  })
}
