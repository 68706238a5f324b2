import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { GetFabResponseSchema } from '../../src/gen/flwr/proto/fab_pb.ts'
import { askingServer } from '../harness/apps.ts'
import { HttpProxy } from '../harness/http-proxy.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { writeMixedApp } from '../harness/python-apps.ts'

const answeringClient = `
import { ClientApp, RecordDict } from 'trellis-fl'
export const app = new ClientApp().query((message) => message.reply(new RecordDict()))
`

test('a SuperNode with trusted entities runs an app that one of them signed, and replies with error 7 for any other', async () => {
  await using fleet = await MixedFleet.create({ superlink: 'trellis' })
  const trusted = generateKeyPairSync('ed25519')
  const stranger = generateKeyPairSync('ed25519')
  let signer: KeyObject | undefined
  // Only Flower Hub hands out signatures: here they are put in on the way to the node.
  await using _proxy = await HttpProxy.start(fleet, (route) =>
    route === 'fleet/get-fab' && signer ? { response: (body) => withSignature(body, signer as KeyObject) } : undefined,
  )
  const file = fleet.directory.file('trusted.yaml')
  writeFileSync(file, `hospital-board: ${opensshLine(trusted.publicKey)}\n`)
  await fleet.startSupernode('trellis', ['--transport', 'http', '--trusted-entities', file])
  const app = writeMixedApp(fleet.directory.file('asking'), {
    server: { language: 'typescript', source: askingServer },
    client: { language: 'typescript', source: answeringClient },
    config: 'actions = "first"',
  })
  /** A run whose app no SuperNode could load has failed. */
  const ask = async (status: 0 | 1): Promise<string> => {
    const run = await fleet.flwr('trellis', ['run', app, '--stream'])
    assert.equal(run.status, status, run.said)
    return run.said
  }

  assert.match(await ask(1), /first: error 7 The FAB could not be verified: it came without signatures/)
  signer = stranger.privateKey
  assert.match(await ask(1), /first: error 7 The FAB could not be verified: no trusted entity/)
  signer = trusted.privateKey
  assert.match(await ask(0), /first: answered/)
})

function withSignature(body: Buffer, key: KeyObject): Buffer {
  const answer = fromBinary(GetFabResponseSchema, body)
  const fab = answer.fab
  if (!fab) throw new Error('There is no app in the answer')
  const signedAt = 1_790_000_000
  const at = Buffer.alloc(8)
  at.writeBigUInt64BE(BigInt(signedAt))
  const digest = createHash('sha256').update(fab.content).digest()
  const signature = sign(null, Buffer.concat([at, digest]), key).toString('base64url')
  fab.verifications = {
    valid_license: 'Valid',
    'hospital-board': JSON.stringify({ signed_at: signedAt, signature }),
  }
  return Buffer.from(toBinary(GetFabResponseSchema, answer))
}

function opensshLine(key: KeyObject): string {
  const part = (bytes: Buffer): Buffer => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return Buffer.concat([length, bytes])
  }
  const raw = Buffer.from(key.export({ format: 'jwk' }).x as string, 'base64url')
  return `ssh-ed25519 ${Buffer.concat([part(Buffer.from('ssh-ed25519')), part(raw)]).toString('base64')}`
}
