import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { isSignedBy, readTrustedEntities } from './trusted-entities.ts'

const publicKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbY2ZVz6n0+PugrvZ5iLhn1rDb+Gr9eza+eyIlQluds someone'
/** Made with the functions that Flower 1.41 signs apps by, over `the bytes of an app`. */
const signature = 'iO4S9hpytVZ4eQPm6uoRL7HSb0w58xx14NM8LnZe_6_Y7kY0URg4W_uw1LRAmdoqLyLem5LX-kvg0M6hiTxgCw'
const digest = createHash('sha256').update('the bytes of an app').digest()

function read(text: string): ReturnType<typeof readTrustedEntities> {
  using directory = temporaryDirectory()
  const path = directory.file('trusted.yaml')
  writeFileSync(path, text)
  return readTrustedEntities({ flag: '--trusted-entities', path })
}

test('a signature made by Flower is one of the entity that holds the key, and of no other key or bytes', () => {
  const entities = read(`fpk_1: ${publicKey}\n`)
  const signed = { signed_at: 1_790_000_000, signature }
  const judge = (changes: object, { id = 'fpk_1', bytes = digest as Uint8Array } = {}): boolean =>
    isSignedBy(entities, bytes, { valid_license: 'Valid', [id]: JSON.stringify({ ...signed, ...changes }) })
  assert.equal(judge({}), true)
  assert.equal(judge({ more: 'than we read' }), true)
  assert.equal(judge({ signed_at: 1_790_000_001 }), false)
  assert.equal(judge({ signed_at: '1790000000' }), false)
  assert.equal(judge({ signature: signature.replace('i', 'j') }), false)
  assert.equal(judge({ signature: '' }), false)
  assert.equal(judge({}, { id: 'fpk_2' }), false)
  assert.equal(judge({}, { bytes: createHash('sha256').update('other bytes').digest() }), false)
  assert.equal(isSignedBy(entities, digest, { fpk_1: 'no JSON' }), false)
  assert.equal(isSignedBy(entities, digest, { fpk_1: 'null' }), false)
  assert.equal(isSignedBy(entities, digest, {}), false)
})

test('a file of trusted entities that names an entity without an Ed25519 key is refused with the id', () => {
  assert.throws(
    () => read(`fpk_1: ${publicKey}\nfpk_2: ecdsa-sha2-nistp384 AAAA\n`),
    /no Ed25519 public key for 'fpk_2'/,
  )
  assert.throws(() => read('fpk_1: [1, 2]\n'), /no Ed25519 public key for 'fpk_1'/)
  assert.throws(() => read('- fpk_1\n'), /is not a map/)
  assert.throws(() => read('{}\n'), /names no entity/)
  assert.throws(() => read('a: b: c\n'), /is not YAML/)
  assert.throws(
    () => readTrustedEntities({ flag: '--trusted-entities', path: '/nowhere/trusted.yaml' }),
    /--trusted-entities: \/nowhere\/trusted.yaml cannot be read/,
  )
})
