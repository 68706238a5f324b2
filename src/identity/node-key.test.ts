import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { test } from 'node:test'
import { generateNodeKey, signNodeCall, verifyNodeCall } from './node-key.ts'
import { readOpensshPrivateKey, readOpensshPublicKey } from './openssh-key.ts'
import { isSuperexecSignature, signSuperexecCall } from './superexec-signature.ts'

const pem = `-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEhti/3JWXCRxJY3fdBz9MoJ7zcAx4lhyy
zSgg1QASe6fcpwkLelZy8S9L4uAcMrK5dc/d7WG5KWTj/4UyRbZkuQZHBNNAzz5g
kfUoU0UC2DQeL/v+QH7oPrcgD2GTTIYR
-----END PUBLIC KEY-----
`
const line =
  'ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBIbYv9yVlwkcSWN33Qc/TKCe83AMeJYcss0oINUAEnun3KcJC3pWcvEvS+LgHDKyuXXP3e1huSlk4/+FMkW2ZLkGRwTTQM8+YJH1KFNFAtg0Hi/7/kB+6D63IA9hk0yGEQ=='
const timestamp = '2026-04-20T12:34:56.789012+00:00'
const signature = Buffer.from(
  '3064023005dd87fbf3fe66fbfbdf31ad9a9c837c206752db1ee63872f901248bf0ac6a82d6774da6ebf23457ae76f1db17e2967902304c5f9c75f97c64c843b8d907b28988d49765eb4c770f1cd85d33f38f18f758c7f51b43def889d9828be8e842693789b6',
  'hex',
)
const signedAt = Date.parse('2026-04-20T12:34:56.789Z')

const acquireTaskMethod = '/flwr.proto.Runtime/AcquireTask'

test('a registered public key becomes the PEM that the node will send', () => {
  assert.equal(readOpensshPublicKey(line, 'key.pub'), pem)
  assert.throws(() => readOpensshPublicKey('ssh-ed25519 AAAA', 'key.pub'), /not an OpenSSH public key of a NIST curve/)
})

test('a signature of Flower’s is accepted for five minutes and not for another text', async () => {
  const call = { publicKeyPem: Buffer.from(pem), timestamp, signature }
  await verifyNodeCall(call, signedAt + 300_000)
  await verifyNodeCall(call, signedAt - 4_000)
  await assert.rejects(verifyNodeCall(call, signedAt + 306_000), /Invalid timestamp/)
  await assert.rejects(verifyNodeCall(call, signedAt - 6_000), /Invalid timestamp/)
  await assert.rejects(
    verifyNodeCall({ ...call, timestamp: timestamp.replace('56', '57') }, signedAt),
    /Invalid signature/,
  )
  await assert.rejects(
    verifyNodeCall({ ...call, publicKeyPem: Buffer.from('nonsense') }, signedAt),
    /Invalid signature/,
  )
})

test('what we sign we accept', async () => {
  const key = generateNodeKey()
  const { headers, binaryHeaders } = await signNodeCall(key, signedAt)
  const call = {
    publicKeyPem: binaryHeaders['flwr-public-key'] as Uint8Array,
    timestamp: headers['flwr-timestamp'] as string,
    signature: binaryHeaders['flwr-signature'] as Uint8Array,
  }
  await assert.doesNotReject(verifyNodeCall(call, signedAt))
})

test('a private key that is not OpenSSH’s is refused with the way to make one', () => {
  const pkcs8 = createPrivateKey(generateNodeKey().privateKey.export({ type: 'pkcs8', format: 'pem' })).export({
    type: 'pkcs8',
    format: 'pem',
  })
  assert.throws(
    () => readOpensshPrivateKey(pkcs8.toString(), 'node.key'),
    /node.key is not an OpenSSH private key: make one with ssh-keygen/,
  )
})

test('the SuperExec signature equals the one recorded on the wire', () => {
  const secret = Buffer.from('test-secret')
  const body = Buffer.from(`\x0a\x0eflwr-clientapp`)
  const headers = signSuperexecCall(
    secret,
    acquireTaskMethod,
    body,
    1_760_000_000_000,
    '00112233445566778899aabbccddeeff',
  )
  assert.equal(headers.signature, '4c12161f8012dd5fe2a5c277d624588880581016a134204285488a2b0f777d92')
  assert.ok(isSuperexecSignature(secret, acquireTaskMethod, body, headers, 1_760_000_300_000))
  assert.ok(!isSuperexecSignature(secret, acquireTaskMethod, Buffer.from('x'), headers, 1_760_000_300_000))
  assert.ok(!isSuperexecSignature(secret, acquireTaskMethod, body, headers, 1_760_000_306_000))
})
