/** Bounds of the work with a database server. */
export const serverLimits = {
  /** How long a connection may take to be made, and a statement to be run. */
  connectMs: 5_000,
  statementMs: 30_000,
  /** How long calls wait for a server that cannot be reached before they are refused. */
  absentMs: 15_000,
  /** Pause between two tries to reach it. */
  retryMs: 250,
  /** How long one wait for the lock of another SuperLink takes before it begins anew, at the end of the queue. */
  lockWaitMs: 10_000,
  /** How long the server may take to give back the lock of a lost connection that was ended. */
  formerMs: 5_000,
  /** How often a connection that writes nothing is tried: a SuperLink that has lost it must stop serving. */
  tryEveryMs: 2_000,
  /** A peer that is silent for `idle + interval * count` seconds is gone, and so is the lock of a SuperLink. */
  keepAliveSeconds: { idle: 1, interval: 1, count: 3 },
  /** Connections that read. */
  readers: 4,
} as const
