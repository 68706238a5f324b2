import type { Clock } from '../../base/clock.ts'
import { UsageError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Logger } from '../../base/log.ts'
import { pauseAfter } from '../../base/retry.ts'
import { Bucket } from './bucket.ts'
import { BucketError } from './bucket-errors.ts'
import { type BucketAccess, BucketRequests } from './bucket-requests.ts'

export interface BucketStart {
  /** The id of the state whose objects the bucket holds. */
  readonly owner: string
  /** Whether the state names objects that are in the bucket. */
  readonly hasObjects: boolean
  readonly log: Logger
  readonly clock: Clock
  /** Called with a sentence each time that the server cannot be reached yet. */
  readonly onWaiting?: (reason: string) => void
  /** Ends the wait. */
  readonly signal: AbortSignal | undefined
}

/** Opens a bucket without a request to its server. */
export function bucketOf(access: BucketAccess): Bucket {
  return new Bucket(new BucketRequests(access))
}

/**
 * Opens a bucket and claims the place there for this state. Waits for a server that cannot be reached yet, and says so; throws a
 * UsageError if waiting does not help, or if the place is that of another SuperLink or has lost the objects.
 */
export async function openBucket(access: BucketAccess, start: BucketStart): Promise<Bucket> {
  const { owner, hasObjects, log, clock, signal } = start
  const bucket = bucketOf(access)
  const since = new Date(clock.now()).toISOString()
  for (let failures = 1; ; failures++) {
    try {
      if (hasObjects && !(await bucket.isMarked()))
        throw new UsageError(
          `The object store ${bucket.label} has no object of this database: correct endpoint=… and the prefix in --storage. If the objects are lost, create ${bucket.label}/trellis.json with the content {"owner":"${owner}"}; then runs that need them fail.`,
        )
      if (await bucket.claim(owner)) {
        if (failures > 1) log.info(`The object store ${bucket.label} responds`)
        return bucket
      }
      throw new UsageError(
        `The object store ${bucket.label} is that of another SuperLink: give each SuperLink a prefix of its own. If the other one is gone for good, delete ${bucket.label}/trellis.json; then objects that this SuperLink does not know are deleted too.`,
      )
    } catch (error) {
      if (!(error instanceof BucketError)) throw error
      if (error.isFinal) throw new UsageError(error.sentence, { cause: error })
      const reason = `Waiting for the object store since ${since}: ${error.message}`
      log.warn(reason)
      start.onWaiting?.(reason)
    }
    const pauseMs = pauseAfter(failures, { baseMs: 500, capMs: limits.bucketProbeEveryMs * 5 })
    await clock.sleep(pauseMs, signal)
  }
}
