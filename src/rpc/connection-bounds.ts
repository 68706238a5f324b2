import { limits } from '../base/limits.ts'

/** What tests change of the limits on a connection: how long a peer may take or stay silent, and how much it may have. */
export type ConnectionBounds = Readonly<
  Record<
    | 'requestHeadMs'
    | 'bodyWindowMs'
    | 'bodyMsMax'
    | 'bodyRoomMs'
    | 'responseRoomMs'
    | 'responseWindowMs'
    | 'responseMsMax'
    | 'bodiesBytesMax'
    | 'bodiesPerPeerBytesMax'
    | 'discardedMsMax'
    | 'idleConnectionMs'
    | 'connectionsPerIdentityMax'
    | 'connectionsPerAddressMax',
    number
  >
>

export const usualBounds: ConnectionBounds = limits
