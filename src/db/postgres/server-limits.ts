/** Bounds of the work with a database server. */
export const serverLimits = {
  /** How long a connection may take to be made, and a statement to be run. */
  connectMs: 5_000,
  statementMs: 30_000,
  /** How long the server may take for statements that cost it nothing, as BEGIN. Then the connection counts as lost. */
  silentMs: 4_000,
  /** How long one step may take that converts the tables of an older release. */
  convertMs: 6 * 3_600_000,
  /** How long calls wait for a server that cannot be reached before they are refused. */
  absentMs: 15_000,
  /** Pause between two tries to reach it. */
  retryMs: 250,
  /** How long one wait for the lock of another SuperLink takes before it begins anew, at the end of the queue. */
  lockWaitMs: 10_000,
  /** How long a try to connect waits for the lock of a lost connection of its own, which it ends. */
  formerMs: 5_000,
  /** How often a connection that writes nothing is tried: a SuperLink that has lost it must stop serving. */
  tryEveryMs: 2_000,
  /** A peer that is silent for `idle + interval * count` seconds is gone, and so is the lock of a SuperLink. */
  keepAliveSeconds: { idle: 1, interval: 1, count: 3 },
  /** Connections that read. */
  readers: 4,
  /** Lost connections that may still hold the lock. */
  formerSessionsMax: 64,
} as const
