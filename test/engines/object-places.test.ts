import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { FileContent } from '../../src/base/file-content.ts'
import { type Database, openDatabase } from '../../src/db/database.ts'
import type { Bucket } from '../../src/objects/bucket/bucket.ts'
import { BucketObjects } from '../../src/objects/bucket/bucket-objects.ts'
import type { BucketAccess } from '../../src/objects/bucket/bucket-requests.ts'
import { parseBucketUrl } from '../../src/objects/bucket/bucket-target.ts'
import { BucketWatch } from '../../src/objects/bucket/bucket-watch.ts'
import { bucketOf, openBucket } from '../../src/objects/bucket/open-bucket.ts'
import { encodeObject, objectId } from '../../src/objects/object-format.ts'
import { createObjectStore, type ObjectStore } from '../../src/objects/object-store.ts'
import { backUp } from '../../src/superlink/maintenance/backup.ts'
import { checkState } from '../../src/superlink/maintenance/check.ts'
import { moveObjects } from '../../src/superlink/maintenance/move-objects.ts'
import { ensureObjectPlace } from '../../src/superlink/object-place.ts'
import { TestCa } from '../harness/certificates.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { type Fault, FaultProxy } from '../harness/fault-proxy.ts'
import { ObjectServer, objectServerKeys, withoutObjectServers } from '../harness/object-server.ts'
import { recordingLogger } from '../harness/recording-logger.ts'
import { SuperlinkCore } from '../harness/superlink-core.ts'

/** The object store over a folder, over an S3 server that keeps all rules, and over one that does not; and what it does about faults. */

const skip = withoutObjectServers
const home = temporaryDirectory()
let strict: ObjectServer
let sloppy: ObjectServer
let proxy: FaultProxy

before(async () => {
  if (skip) return
  strict = await ObjectServer.start(home.file('strict'))
  sloppy = await ObjectServer.start(home.file('sloppy'), { kind: 'rclone' })
  proxy = await FaultProxy.start(strict.port)
})
after(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await strict?.[Symbol.asyncDispose]()
  await sloppy?.[Symbol.asyncDispose]()
  home[Symbol.dispose]()
})

const clock: Clock = { now: () => systemClock.now(), sleep: async () => {} }
const object = (size: number, fill: number) => encodeObject('ArrayChunk', [], new Uint8Array(size).fill(fill))
const keyOf = (prefix: string, id: string) => `${prefix}/${id.slice(0, 2)}/${id}`

function accessTo(url: string, more: Partial<BucketAccess> = {}): BucketAccess {
  const credentials = async () => ({ ...objectServerKeys, sessionToken: undefined })
  return { target: parseBucketUrl(url, '--storage'), credentials, sleep: clock.sleep, ...more }
}

interface OpenStore extends Disposable {
  readonly store: ObjectStore
  readonly db: Database
  readonly bucket: Bucket
  readonly watch: BucketWatch
  readonly lines: readonly string[]
  /** Announces and stores an object; returns its id. */
  put(bytes: Uint8Array, messageId?: string): Promise<string>
  release(messageId: string): Promise<void>
}

/** A store with copies in the folder; the database is that of an earlier one if it is given. */
async function openStore(
  url: string,
  folder: string,
  {
    db = openDatabase({ path: ':memory:' }),
    cacheBytesMax = 1e9,
    ...more
  }: Partial<BucketAccess> & {
    db?: Database
    cacheBytesMax?: number
  } = {},
): Promise<OpenStore> {
  const { log, lines } = recordingLogger()
  const bucket = bucketOf(accessTo(url, more))
  const watch = new BucketWatch({ log, clock })
  const objects = new BucketObjects({ bucket, watch, directory: home.file(folder), cacheBytesMax })
  const store = await createObjectStore({ db, directory: home.file(folder), durable: false, bucket: objects })
  return {
    ...{ store, db, bucket, watch, lines },
    put: (bytes, messageId) => putInto(store, db, bytes, messageId),
    release: (messageId) => db.transaction((tx, afterCommit) => store.release(tx, afterCommit, [messageId])),
    [Symbol.dispose]: () => bucket[Symbol.dispose](),
  }
}

async function putInto(store: ObjectStore, db: Database, bytes: Uint8Array, messageId = 'm'): Promise<string> {
  const id = objectId(bytes)
  await db.transaction((tx) => store.announce(tx, messageId, [id]))
  assert.equal(await store.put(id, bytes), 'stored')
  return id
}

async function sent(store: ObjectStore, id: string): Promise<Buffer | undefined> {
  const content = (await store.open(id))?.content
  if (!(content instanceof FileContent)) return content && Buffer.from(content)
  await content.open()
  try {
    const pieces: Uint8Array[] = []
    for (let start = 0; start < content.length; start += 1e6) pieces.push(await content.read(start, 1e6))
    return Buffer.concat(pieces)
  } finally {
    await content.close()
  }
}

const places: Readonly<Record<string, (folder: string) => Promise<{ store: ObjectStore; db: Database }>>> = {
  'a folder': async (folder) => {
    const db = openDatabase({ path: ':memory:' })
    return { db, store: await createObjectStore({ db, directory: home.file(folder), durable: false }) }
  },
  versitygw: (folder) => openStore(strict.url(folder), folder),
  rclone: (folder) => openStore(sloppy.url(folder), folder),
}
for (const [place, open] of Object.entries(places)) {
  test(`objects of all sizes live until they are released, in ${place}`, {
    skip: place !== 'a folder' && skip,
  }, async () => {
    const { store, db } = await open(`life-${place.replace(' ', '-')}`)
    await using _ = db
    // In a row, in a file that is read at once, in one that is sent in pieces, and one that is uploaded in parts.
    for (const bytes of [object(1_000, 1), object(100_000, 2), object(2_000_000, 3), object(20_000_000, 4)]) {
      const id = await putInto(store, db, bytes)
      assert.equal(await putInto(store, db, bytes, 'again'), id)
      assert.ok((await sent(store, id))?.equals(bytes))
      await db.transaction((tx, afterCommit) => store.release(tx, afterCommit, ['m', 'again']))
      assert.equal(await store.open(id), undefined)
    }
    assert.equal(await store.put('0'.repeat(64), object(1, 1)), 'mismatch')
  })
}

for (const [name, serverOf] of [
  ['versitygw', () => strict],
  ['rclone', () => sloppy],
] as const) {
  test(`a SuperLink that lost its copies reads everything from ${name}, and removes what no message names`, {
    skip,
  }, async () => {
    const server = serverOf()
    using first = await openStore(server.url('restart'), 'restart-1')
    await using db = first.db
    const bytes = [object(100_000, 5), object(3_000_000, 6), object(17_000_000, 7)]
    const ids = await Promise.all(bytes.map((content, index) => first.put(content, `m${index}`)))
    const orphan = object(50_000, 8)
    writeFileSync(home.file('orphan'), orphan)
    await first.bucket.put(objectId(orphan), home.file('orphan'), orphan.length)
    assert.equal(await first.bucket.claim('one'), true, 'which writes a file of its own')

    using second = await openStore(server.url('restart'), 'restart-2', { db })
    for (const [index, id] of ids.entries()) {
      assert.ok((await sent(second.store, id))?.equals(bytes[index] as Uint8Array))
      assert.ok(Buffer.from((await second.store.get(id))?.content ?? []).equals(bytes[index] as Uint8Array))
    }
    await second.store.removeOrphans()
    assert.deepEqual(
      server.stored().filter((path) => path.startsWith('restart/')),
      [...ids.map((id) => keyOf('restart', id)), 'restart/trellis.json'].sort(),
    )
    await second.release('m0')
    // The file is deleted after the commit.
    await second.store.removeOrphans()
    assert.ok(!server.stored().includes(keyOf('restart', ids[0] as string)))
  })

  test(`two SuperLinks do not share a place in ${name}, and one with objects takes no place without any`, {
    skip,
  }, async () => {
    const start = { ...recordingLogger(), clock, hasObjects: false, signal: undefined }
    const url = serverOf().url('shared')
    using _ = await openBucket(accessTo(url), { ...start, owner: 'one' })
    using _again = await openBucket(accessTo(url), { ...start, owner: 'one' })
    await assert.rejects(openBucket(accessTo(url), { ...start, owner: 'other' }), /is that of another SuperLink/)
    const inUse = { ...start, owner: 'one', hasObjects: true }
    using _later = await openBucket(accessTo(url), inUse)
    await assert.rejects(
      openBucket(accessTo(serverOf().url('wrong')), inUse),
      /^UsageError: The object store s3:\/\/models\/wrong has no object of this database: correct .*"owner":"one"/,
    )
  })
}

test('copies of objects fit into their size, and each object is downloaded once for all nodes', { skip }, async () => {
  const gets: string[] = []
  const onRequest = (action: string) => void (action === 'get' && gets.push(action))
  using opened = await openStore(strict.url('cache'), 'cache', { cacheBytesMax: 250_000, onRequest })
  await using _ = opened.db
  const bytes = [1, 2, 3, 4].map((fill) => object(100_000, fill))
  const ids: string[] = []
  for (const content of bytes) ids.push(await opened.put(content))
  const copies = () => readdirSync(home.file('cache'), { recursive: true }).filter((name) => String(name).length > 60)
  assert.equal(copies().length, 2)
  assert.equal(gets.length, 0, 'what was written is not read again')
  const [first = ''] = ids
  const all = await Promise.all(Array.from({ length: 20 }, () => sent(opened.store, first)))
  assert.ok(all.every((content) => content?.equals(bytes[0] as Uint8Array)))
  assert.equal(gets.length, 1)
  assert.equal(copies().length, 2)
  rmSync(home.file(`cache/${first.slice(0, 2)}`), { recursive: true })
  assert.ok((await sent(opened.store, first))?.equals(bytes[0] as Uint8Array), 'a copy was deleted by hand')
})

test('damaged bytes in the bucket are reported and never handed out', { skip }, async () => {
  using first = await openStore(strict.url('damaged'), 'damaged-1')
  await using db = first.db
  const bytes = object(2_000_000, 9)
  const id = await first.put(bytes)
  const damaged = Buffer.from(bytes)
  damaged[1_000_000] = 1
  strict.write(keyOf('damaged', id), damaged)
  using second = await openStore(strict.url('damaged'), 'damaged-2', { db })
  const error = await sent(second.store, id).catch((reason) => reason)
  assert.match(error.message, new RegExp(`^s3://models/damaged returned other bytes than those of the object ${id}`))
  assert.match(error.publicSentence, /^The object store of the server does not respond as it should/)
  assert.equal(existsSync(home.file(`damaged-2/${id.slice(0, 2)}/${id}`)), false)
  assert.equal(second.watch.trouble, undefined, 'one object is not the server')
})

const passing: readonly (readonly [string, Fault])[] = [
  ['status 500', { status: 500 }],
  ['status 503', { status: 503, body: '<Error><Code>SlowDown</Code></Error>' }],
  ['a cut connection', 'cut'],
  ['a changed byte', 'wrong-byte'],
  ['no response', 'silence'],
]
test('uploads and downloads are tried again after passing faults', { skip }, async () => {
  for (const [name, fault] of passing) {
    proxy.fault = () => undefined
    const prefix = `passing-${passing.findIndex(([each]) => each === name)}`
    // A machine that is busy may take longer than this for a response: the other faults keep the usual time.
    const access = fault === 'silence' ? { idleMs: 3_000 } : {}
    using opened = await openStore(strict.url(prefix, proxy.port), prefix, access)
    await using db = opened.db
    // Of those without a response one is enough: each takes the time that a connection may stand still.
    const faults = fault === 'silence' ? 1 : 2
    let left = faults
    proxy.fault = (method, path) =>
      path.includes('/passing-') && /GET|PUT/.test(method) && left-- > 0 ? fault : undefined
    const bytes = object(300_000, 10)
    const id = await opened.put(bytes)
    rmSync(home.file(prefix), { recursive: true })
    using again = await openStore(strict.url(prefix, proxy.port), prefix, { ...access, db })
    left = faults
    assert.ok((await sent(again.store, id))?.equals(bytes), name)
  }
})

test('a store that stays out of order refuses objects, says so once, and goes on when it is back', {
  skip,
}, async () => {
  proxy.fault = () => undefined
  using opened = await openStore(strict.url('outage', proxy.port), 'outage')
  await using db = opened.db
  assert.equal(await opened.bucket.claim('one'), true)
  proxy.fault = (method) => (method === 'PUT' ? { status: 503 } : undefined)
  const bytes = object(100_000, 11)
  const id = objectId(bytes)
  await db.transaction((tx) => opened.store.announce(tx, 'm', [id]))
  for (let attempt = 0; attempt < 2; attempt++) {
    const error = await opened.store.put(id, bytes).catch((reason) => reason)
    assert.equal(error.code, 'storage-unavailable')
  }
  assert.deepEqual(await opened.store.get(id), { content: undefined }, 'nothing was acknowledged')
  const reason = 'The object store s3://models/outage is out of order: it responds with status 503.'
  assert.equal(opened.watch.trouble, reason)
  assert.deepEqual(opened.lines, [`error ${reason} Until then large objects cannot be stored.`])
  const probe = (action: 'get' | 'put') => opened.watch.during(action, () => opened.bucket.probe(action))
  await probe('get')
  await assert.rejects(probe('put'), /is out of order/)
  assert.equal(opened.watch.trouble, reason, 'a bucket that can be read may refuse uploads')
  proxy.fault = () => undefined
  await probe('put')
  assert.equal(opened.watch.trouble, undefined)
  assert.match(opened.lines.at(-1) ?? '', /^info The object store responds again/)
  assert.equal(await opened.store.put(id, bytes), 'stored')
})

test('a start waits for its store and says so; a wrong setting ends it with a remedy and no secret', {
  skip,
}, async () => {
  const url = strict.url('start', proxy.port)
  const { log, lines } = recordingLogger()
  const start = { log, clock, owner: 'one', hasObjects: false, signal: undefined }
  let left = 3
  proxy.fault = () => (left-- > 0 ? { status: 503 } : undefined)
  using _ = await openBucket(accessTo(url), start)
  assert.match(lines[0] ?? '', /^warn Waiting for the object store since \S+: s3:\/\/models\/start is out of order/)
  assert.equal(lines.length, 4)
  assert.equal(lines[3], 'info The object store s3://models/start responds')
  proxy.fault = () => undefined

  const keys = (more: Partial<typeof objectServerKeys>) => async () => ({
    ...{ ...objectServerKeys, ...more, sessionToken: undefined },
  })
  const secret = 'a secret that is wrong'
  const refusals: readonly (readonly [BucketAccess, RegExp])[] = [
    [accessTo(url.replace('models', 'nothing-here')), /does not exist: create the bucket nothing-here at http/],
    [accessTo(url, { credentials: keys({ accessKeyId: 'stranger' as never }) }), /rejects the access key/],
    [accessTo(url, { credentials: keys({ secretAccessKey: secret as never }) }), /rejects the secret access key/],
  ]
  for (const [access, message] of refusals) {
    const error = await openBucket(access, start).catch((reason) => reason)
    assert.equal(error.name, 'UsageError')
    assert.match(error.message, message)
    assert.doesNotMatch(error.message, /wrench|secret that/)
  }
})

test('a private CA is trusted if it is named; otherwise the error names the option', { skip }, async () => {
  const ca = await TestCa.create(home.path)
  await using server = await ObjectServer.start(home.file('tls'), { tls: await ca.server() })
  const start = { ...recordingLogger(), clock, owner: 'one', hasObjects: false, signal: undefined }
  const url = server.url('tls')
  using _ = await openBucket(accessTo(url, { ca: [ca.issued.certificatePem] }), start)
  await assert.rejects(openBucket(accessTo(url), start), /is not from a CA that is trusted: .*--storage-ca-certfile/)
  const plain = strict.url('tls').replace('http:', 'https:')
  await assert.rejects(openBucket(accessTo(plain), start), /cannot be used: \S+ does not speak this protocol/)
})

test('uploads in parts that were left behind are removed', { skip }, async () => {
  let isCut = true
  proxy.fault = (method, path) =>
    isCut && /PUT.*partNumber=2|DELETE/.test(method + path) ? { status: 500 } : undefined
  using opened = await openStore(strict.url('parts', proxy.port), 'parts')
  await using db = opened.db
  const bytes = object(20_000_000, 12)
  const id = objectId(bytes)
  await db.transaction((tx) => opened.store.announce(tx, 'm', [id]))
  await assert.rejects(opened.store.put(id, bytes))
  isCut = false
  const aborted = () => proxy.seen.filter((line) => /^DELETE .*uploadId=/.test(line)).length
  const before = aborted()
  await opened.bucket.abortUploadsOf(Date.now() + 60_000)
  assert.equal(aborted(), before + 1)
  await opened.bucket.abortUploadsOf(Date.now() + 60_000)
  assert.equal(aborted(), before + 1, 'nothing is left')
  proxy.fault = (_method, path) =>
    path.includes('uploads=') ? { status: 403, body: '<Error><Code>AccessDenied</Code></Error>' } : undefined
  await assert.rejects(
    opened.bucket.abortUploadsOf(Date.now()),
    /allow s3:ListBucket and s3:ListBucketMultipartUploads/,
  )
  await opened.store.removeOrphans()
  proxy.fault = () => undefined
  assert.equal(await opened.store.put(id, bytes), 'stored')
})

test('objects of active runs move into the bucket and back, a backup takes them from there, and a check reads them', {
  skip,
}, async () => {
  const path = home.file('moved/state.db')
  const objects = home.file('moved/objects')
  mkdirSync(home.file('moved'))
  const core = await SuperlinkCore.start({ folder: home.file('moved') })
  const { runId } = await core.run()
  await core.push(runId, [core.instruction(runId, await core.join('node'), { bytes: 100_000 })])
  await core[Symbol.asyncDispose]()
  using bucket = bucketOf(accessTo(strict.url('moved')))
  const faultsOf = async (state: Parameters<typeof checkState>[0]) => {
    const faults: string[] = []
    const { files } = await checkState(state, (fault) => faults.push(fault))
    return { files, faults }
  }
  const whole = { files: 1, faults: [] }

  assert.equal((await moveObjects({ path, objects }, bucket)).to, 's3://models/moved')
  rmSync(objects, { recursive: true })
  assert.deepEqual(await faultsOf({ path, objects, bucket }), whole)
  const place = async (wanted: string) => {
    await using db = openDatabase({ path })
    await ensureObjectPlace(db, wanted)
  }
  await place('s3://models/moved')
  await assert.rejects(place('folder'), /are in s3:\/\/models\/moved: add --storage s3:\/\/models\/moved/)
  const copy = await backUp({ path, objects, bucket }, home.file('backup'))
  assert.deepEqual(await faultsOf(copy), whole)

  assert.equal((await moveObjects({ path, objects }, bucket)).from, 's3://models/moved')
  assert.deepEqual(await faultsOf({ path, objects }), whole)
  await place('folder')
  await assert.rejects(place('s3://models/moved'), /are in the folder of --storage-dir: leave out --storage/)

  const [key = ''] = strict.stored().filter((each) => /^moved\/..\//.test(each))
  strict.write(key, Buffer.from('damaged'))
  assert.match(
    (await faultsOf({ path, objects, bucket })).faults.join(),
    /returned other bytes .*; needed by run \d+\.$/,
  )
})
