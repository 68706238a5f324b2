const MiB = 1024 * 1024

/** Bounds of work with an S3 server: see `limits.ts`. */
export const bucketLimits = {
  /**
   * Of a bucket: objects above two parts are uploaded in parts, so many objects at a time, each with one part in memory; how
   * many requests are under way, how long one may stand still and take in all, and how often and how soon it is tried again.
   */
  bucketPartBytes: 8 * MiB,
  bucketUploadsAtOnce: 4,
  bucketDownloadsAtOnce: 8,
  bucketDeletionsAtOnce: 8,
  bucketRequestsAtOnce: 32,
  bucketIdleMs: 20_000,
  bucketAttemptMs: 300_000,
  bucketAttemptsMax: 5,
  bucketRetryBaseMs: 250,
  bucketRetryCapMs: 4_000,
  bucketResponseBytesMax: 4 * MiB,
  /** While a bucket does not respond at start or in use, it is asked again this often. */
  bucketProbeEveryMs: 2_000,
  /** A list for the removal of orphans that failed is tried again after this time. */
  bucketSweepRetryMs: 60_000,
  /** Objects whose deletion may still happen, because its response was lost. No more are deleted while there are so many. */
  bucketUnsureMax: 1_000,
  /** An upload in parts that was begun this long ago was left behind. */
  bucketUploadMsMax: 60 * 60_000,
} as const
