import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../../test/harness/recording-logger.ts'
import { limits } from '../../base/limits.ts'
import { ObjectFiles } from '../object-files.ts'
import { encodeObject, objectId } from '../object-format.ts'
import type { Bucket } from './bucket.ts'
import { BucketError } from './bucket-errors.ts'
import { BucketObjects } from './bucket-objects.ts'
import { BucketWatch } from './bucket-watch.ts'

const object = (fill: number) => encodeObject('ArrayChunk', [], new Uint8Array(1_000).fill(fill))
const lost = () => new BucketError('s3://models does not respond.', { isFinal: false })
const refused = () => new BucketError('s3://models refuses.', { isFinal: true })

/** Objects in a bucket that is in memory, with room for one and a half copies. */
async function setUp(t: TestContext) {
  const folder = temporaryDirectory()
  t.after(() => folder[Symbol.dispose]())
  const stored = new Map<string, Buffer>()
  const bucket = {
    label: 's3://models',
    put: async (id: string, path: string) => void stored.set(id, readFileSync(path)),
    remove: async (id: string) => void stored.delete(id),
  }
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  const watch = new BucketWatch({ log, clock })
  const objects = new BucketObjects({
    ...{ bucket: bucket as unknown as Bucket, watch, directory: folder.file('copies'), cacheBytesMax: 1_500 },
    monotonicNow: () => clock.now(),
  })
  await objects.prepare()
  return { stored, bucket, clock, lines, watch, objects }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('an object whose deletion may still happen is uploaded only once that is impossible', async (t) => {
  const { stored, bucket, clock, watch, objects } = await setUp(t)
  const bytes = object(1)
  const id = objectId(bytes)
  await objects.keep(id, bytes)
  const { remove } = bucket
  bucket.remove = async () => Promise.reject(lost())
  await assert.rejects(objects.remove(id), BucketError)
  bucket.remove = remove
  await watch.during('delete', async () => {})
  clock.advance(limits.bucketAttemptMs - 1)
  await assert.rejects(objects.keep(id, bytes), (error: BucketError) => {
    assert.match(error.message, /may still delete the object/)
    assert.deepEqual([error.isFinal, error.isOutage, watch.trouble], [false, false, undefined])
    return true
  })
  await objects.keep(objectId(object(2)), object(2))
  // Now the server does what it was asked for long ago.
  await bucket.remove(id)
  clock.advance(1)
  await objects.keep(id, bytes)
  assert.ok(stored.get(id)?.equals(bytes))

  bucket.remove = async () => Promise.reject(refused())
  await assert.rejects(objects.remove(id), BucketError)
  await objects.keep(id, bytes)
})

test('only so many deletions are under way, and after a failure the others are left for the next sweep', async (t) => {
  const { bucket, objects } = await setUp(t)
  const asked: string[] = []
  const failure = Promise.withResolvers<void>()
  const deleted = t.mock.method(ObjectFiles.prototype, 'remove', async () => {})
  bucket.remove = async (id) => {
    asked.push(id)
    await failure.promise
  }
  const all = Array.from({ length: 50 }, (_, index) => objects.remove(objectId(object(index))))
  const results = Promise.allSettled(all)
  await turns(2)
  assert.deepEqual([deleted.mock.callCount(), asked.length], [50, limits.bucketDeletionsAtOnce])
  failure.reject(lost())
  assert.equal((await results).filter(({ status }) => status === 'rejected').length, limits.bucketDeletionsAtOnce)
  assert.equal(asked.length, limits.bucketDeletionsAtOnce)
})

test('a bucket that refuses uploads is emptied all the same, and a failed upload is not followed by a deletion', async (t) => {
  const { stored, bucket, watch, objects } = await setUp(t)
  const [first, second] = [object(1), object(2)]
  await objects.keep(objectId(first), first)
  const { put } = bucket
  bucket.put = async () => Promise.reject(lost())
  const remove = t.mock.method(bucket, 'remove')
  await assert.rejects(objects.keep(objectId(second), second), BucketError)
  await objects.remove(objectId(second))
  assert.deepEqual([watch.isInTrouble('put'), remove.mock.callCount()], [true, 0])
  await objects.remove(objectId(first))
  assert.equal(stored.size, 0)
  bucket.put = put
  await objects.keep(objectId(second), second)
  await objects.remove(objectId(second))
  assert.equal(stored.size, 0)
})

test('a copy that is written again while its former one makes room stays', async (t) => {
  const { stored, objects } = await setUp(t)
  const [first, second] = [object(1), object(2)]
  await objects.keep(objectId(first), first)
  const deletion = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  const { remove } = ObjectFiles.prototype
  t.mock.method(ObjectFiles.prototype, 'remove', async function (this: ObjectFiles, id: string) {
    asked.resolve()
    await deletion.promise
    await remove.call(this, id)
  })
  const keptSecond = objects.keep(objectId(second), second)
  await asked.promise
  const keptFirst = objects.keep(objectId(first), first)
  // As far as it gets before the former copy is deleted.
  await Promise.race([keptFirst, turns(1_000)])
  deletion.resolve()
  await Promise.all([keptSecond, keptFirst])
  assert.deepEqual(Buffer.from((await objects.read(objectId(first))) ?? []), Buffer.from(first))
  assert.ok(stored.get(objectId(first))?.equals(first))
})

test('only a success of the same kind ends the trouble of a bucket, and a flapping one fills no log', async (t) => {
  const { clock, lines, watch } = await setUp(t)
  const fail = () => watch.during('put', () => Promise.reject(lost())).catch(() => {})
  const succeed = (action: 'get' | 'put' | 'delete') => watch.during(action, async () => {})
  await fail()
  await succeed('get')
  await succeed('delete')
  assert.match(watch.trouble ?? '', /does not respond/)
  clock.advance(3_000)
  await succeed('put')
  assert.deepEqual([watch.trouble, watch.ended], [undefined, 1])
  for (let count = 0; count < 5; count++) {
    await fail()
    await succeed('put')
  }
  assert.deepEqual(lines, [
    'error The object store s3://models does not respond. Until then large objects cannot be stored.',
    'info The object store responds again after 3 s',
  ])
  await watch.during('delete', () => Promise.reject(refused())).catch(() => {})
  assert.deepEqual(
    [watch.trouble, watch.isInTrouble('delete')],
    [undefined, true],
    'models are stored and read without deletions',
  )
})
