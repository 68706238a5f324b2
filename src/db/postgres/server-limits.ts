/** Bounds of the work with a database server. */
export const serverLimits = {
  /** How long a connection may take to be made, and a statement to be run. */
  connectMs: 5_000,
  statementMs: 30_000,
  /** How long calls wait for a server that cannot be reached before they are refused. */
  absentMs: 15_000,
  /** Pause between two tries to reach it, and how long a start waits for the lock of a SuperLink that is ending. */
  retryMs: 250,
  lockMs: 5_000,
  /** Connections that read. */
  readers: 4,
} as const
