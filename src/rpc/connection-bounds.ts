import { limits } from '../base/limits.ts'

/** How long a peer may take, or hold a connection without use (milliseconds), and how many connections one identity has. */
export type ConnectionBounds = Readonly<
  Record<'requestHeadMs' | 'bodyWindowMs' | 'idleConnectionMs' | 'connectionsPerIdentityMax', number>
>

export const usualBounds: ConnectionBounds = limits
