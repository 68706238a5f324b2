import type { Clock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import type { Metrics } from '../base/metrics.ts'
import type { StorageRoom } from '../base/storage-room.ts'
import type { Database } from '../db/database.ts'
import type { Bucket } from '../objects/bucket/bucket.ts'
import { BucketError } from '../objects/bucket/bucket-errors.ts'
import { BucketObjects } from '../objects/bucket/bucket-objects.ts'
import { BucketWatch } from '../objects/bucket/bucket-watch.ts'
import { openBucket } from '../objects/bucket/open-bucket.ts'
import { listSomeInFiles } from '../objects/object-rows.ts'
import { createObjectStore, type ObjectStore, type ObjectStoreOptions } from '../objects/object-store.ts'
import { runJob } from './background-job.ts'
import type { SuperlinkConfig } from './config.ts'
import { objectDirectory } from './object-directory.ts'
import { claimObjectFolder, ensureObjectPlace, folderPlace, objectOwner } from './object-place.ts'
import type { SuperlinkHealth } from './superlink-health.ts'

export interface OpenObjectsOptions extends Pick<ObjectStoreOptions, 'onStored' | 'durable'> {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  readonly health: SuperlinkHealth
  readonly metrics: Metrics
  /** What is to be reported of writes into a folder. */
  readonly noticesOf: StorageRoom['noticesOf']
  /** Ends the wait for an S3 server. */
  readonly signal: AbortSignal | undefined
}

export interface OpenedObjects {
  readonly store: ObjectStore
  /** On this machine: of the objects, or of copies. */
  readonly directory: string
  /** Why objects can be neither stored nor read. */
  readonly trouble: string | undefined
  /** Starts background jobs. */
  start(signal: AbortSignal): Promise<void>[]
}

/** What a SuperLink with a bucket reports. */
export function createBucketMetrics(metrics: Metrics) {
  return {
    requests: metrics.counter('trellis_object_store_requests_total', 'Requests to the S3 server', ['action', 'result']),
    reads: metrics.counter('trellis_object_reads_total', 'Objects read, from copies or from the bucket', ['from']),
    cached: metrics.gauge('trellis_object_cache_bytes', 'Bytes of copies of objects in the folder', []),
  }
}

/** Opens the object store: in a folder, or in a bucket with copies in a folder. An S3 server is waited for. */
export async function openObjects(
  config: SuperlinkConfig,
  stack: AsyncDisposableStack,
  { db, clock, log, health, metrics, noticesOf, signal, ...options }: OpenObjectsOptions,
): Promise<OpenedObjects> {
  const directory = await objectDirectory(config, stack)
  const { storage } = config
  const base = { ...options, db, directory, ...noticesOf(directory) }
  await ensureObjectPlace(db, storage?.target.label ?? folderPlace)
  if (!storage) {
    // One beside an SQLite file is not marked: a new file may follow a deleted one.
    const { engine, storageDirectory } = config.database
    await claimObjectFolder(directory, db, engine !== 'memory' && storageDirectory !== undefined)
    return { store: await createObjectStore(base), directory, trouble: undefined, start: () => [] }
  }

  const { requests, reads, cached } = createBucketMetrics(metrics)
  const bucket = stack.use(
    await openBucket(
      { ...storage, sleep: (ms) => clock.sleep(ms), onRequest: (action, result) => requests.inc({ action, result }) },
      {
        ...{ owner: await objectOwner(db), log, clock, signal },
        hasObjects: (await listSomeInFiles(db.read)).length > 0,
        onWaiting(reason) {
          health.check({ unreadiness: () => reason })
          void health.start()
        },
      },
    ),
  )
  const watch = new BucketWatch({ log, clock })
  const { cacheBytesMax } = storage
  const objects = new BucketObjects({ bucket, watch, directory, cacheBytesMax, onRead: (from) => reads.inc({ from }) })
  metrics.onRead(() => cached.set(objects.cacheBytes))
  const store = await createObjectStore({ ...base, bucket: objects })
  return {
    ...{ store, directory },
    get trouble() {
      return watch.trouble
    },
    start: (until) => [
      runJob({ log, clock }, 'object store watch', () => watch.watch((action) => bucket.probe(action), until)),
      runJob({ log, clock }, 'removal of orphaned objects', () =>
        removeOrphans({ store, bucket, watch }, { log, clock }, until),
      ),
    ],
  }
}

/**
 * Removes orphans at the start, and again when the bucket has come out of trouble, because deletions failed or were left out
 * meanwhile. Tries again after a minute if the bucket cannot be listed: that holds up nothing else.
 */
async function removeOrphans(
  { store, bucket, watch }: { readonly store: ObjectStore; readonly bucket: Bucket; readonly watch: BucketWatch },
  { log, clock }: Pick<OpenObjectsOptions, 'log' | 'clock'>,
  signal: AbortSignal,
): Promise<void> {
  let uploadsStay = false
  while (!signal.aborted) {
    const { ended } = watch
    try {
      await store.removeOrphans(signal)
      // Not every operator allows it, and not every server can do it: what stays costs storage alone.
      await bucket.abortUploadsOf(Date.now() - limits.bucketUploadMsMax).catch((error: unknown) => {
        if (!(error instanceof BucketError)) throw error
        if (!uploadsStay)
          log.warn(`Uploads that were not completed stay in the bucket: the object store ${error.message}`)
        uploadsStay = true
      })
      await watch.nextEnd(ended, signal)
    } catch (error) {
      if (!(error instanceof BucketError)) throw error
      log.warn(`Objects that no message names are not removed yet: the object store ${error.message}`)
    }
    await clock.sleep(limits.bucketSweepRetryMs, signal).catch(() => {})
  }
}
