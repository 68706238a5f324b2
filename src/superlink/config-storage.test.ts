import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { besideState, readDatabase } from './config-database.ts'
import { readStorage } from './config-storage.ts'

const kept = { memory: false, simulation: false }
const keys = () => ({ AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret', PATH: '/bin' })

test('a bucket is that of Amazon S3 unless the URL names a server', () => {
  const urlOf = (storage: string) => readStorage({ storage }, kept, keys())?.target.url
  assert.equal(urlOf('s3://models/fleet?region=eu-central-1'), 'https://models.s3.eu-central-1.amazonaws.com')
  assert.equal(urlOf('s3://models.example'), 'https://s3.us-east-1.amazonaws.com/models.example')
  assert.equal(urlOf('s3://models?endpoint=https://s3.example:9000'), 'https://s3.example:9000/models')
  assert.equal(urlOf('s3://models?endpoint=http://minio:9000&insecure=true'), 'http://minio:9000/models')
})

test('a wrong setting of the bucket is refused with a remedy, and no key is repeated', () => {
  const refusals: readonly (readonly [Record<string, string>, RegExp])[] = [
    [{ storage: '/var/lib/objects' }, /a folder is named with --storage-dir/],
    [{ storage: 's3://id:secret@models' }, /use --storage-credentials-file/],
    [{ storage: 's3://MODELS' }, /names no bucket/],
    [{ storage: 's3://models/a b' }, /the prefix can have/],
    [{ storage: 's3://models?acl=public' }, /unknown option acl/],
    [{ storage: 's3://models?endpoint=http://minio:9000' }, /use an https endpoint, or add &insecure=true/],
    [{ storage: 's3://models?endpoint=https://a:secret@s3.example' }, /must be the address of an S3 server/],
    [{ storageCredentialsFile: 'keys' }, /^--storage-credentials-file has no effect alone/],
    [{ storage: 's3://models', storageCacheSize: '5' }, /^--storage-cache-size must be a number/],
  ]
  for (const [values, message] of refusals)
    assert.throws(
      () => readStorage(values, kept, keys()),
      (error: Error) => message.test(error.message) && !error.message.includes('secret@'),
    )
  assert.throws(() => readStorage({ storage: 's3://models' }, kept, {}), /set AWS_ACCESS_KEY_ID/)
  assert.throws(
    () => readStorage({ storage: 's3://models' }, { memory: true, simulation: false }, keys()),
    /--database/,
  )
})

test('keys leave the environment, which apps inherit', async () => {
  const environment = keys()
  const storage = readStorage({ storage: 's3://models' }, kept, environment)
  assert.deepEqual(environment, { PATH: '/bin' })
  assert.equal((await storage?.credentials())?.secretAccessKey, 'secret')
})

test('keys in a file are read again before each request', async () => {
  using home = temporaryDirectory()
  const file = home.file('keys')
  const storage = readStorage({ storage: 's3://models', storageCredentialsFile: file }, kept, {})
  await assert.rejects(storage?.credentials() ?? assert.fail(), /keys cannot be read/)
  writeFileSync(file, '[other]\naws_access_key_id=no\naws_secret_access_key=no\n\n[default]\naws_access_key_id = id\n')
  await assert.rejects(storage?.credentials() ?? assert.fail(), /must hold the lines aws_access_key_id/)
  for (const secret of ['one', 'two']) {
    writeFileSync(file, `[default]\naws_access_key_id = id\naws_secret_access_key = ${secret}\n`)
    assert.equal((await storage?.credentials())?.secretAccessKey, secret)
  }
})

test('with a database server objects need a folder or a bucket, and with a bucket nothing on this machine', () => {
  const database = 'postgres://flower@localhost/flower'
  assert.throws(() => readDatabase({ database }, {}), /--storage-dir DIR, which standbys share, or --storage s3:/)
  const inBucket = readDatabase({ database, storage: 's3://models' }, {})
  for (const what of ['objects', 'object-cache', 'crls'] as const)
    assert.equal(besideState(inBucket, what), undefined, 'a temporary folder')
  const inFolder = readDatabase({ database, storageDir: '/objects' }, {})
  assert.equal(besideState(inFolder, 'objects'), '/objects')
  assert.equal(besideState(inFolder, 'crls'), '/objects.crls')
})
