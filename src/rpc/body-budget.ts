import { DomainError } from '../base/errors.ts'
import { identityKey } from '../identity/caller.ts'
import { hostOf } from './address.ts'
import { type ByteRoom, ByteShares } from './byte-shares.ts'
import type { Connection } from './call.ts'

export interface BodyBudgetBounds {
  /** Bytes of all request bodies together, and of those of one peer. Responses may take as much again. */
  readonly bodiesBytesMax: number
  readonly bodiesPerPeerBytesMax: number
  /** How long a body waits for room before it is refused, in milliseconds; and a response, before it is built. */
  readonly bodyRoomMs: number
  readonly responseRoomMs: number
}

/**
 * Bounds the memory of request bodies, from their first byte until their call ends, and of responses, from the moment they
 * are built until they are written. A body takes room as its bytes arrive, so a peer holds no more than it has sent. A body
 * without room is not read on: HTTP/1.1 and HTTP/2 then slow its sender down. A response without room waits, and a large
 * one is read from the disk only after it has room. Requests and responses have a budget each: a call that holds room for
 * its request can wait for its response without holding up requests.
 */
export class BodyBudget {
  readonly requests: ByteShares
  readonly responses: ByteShares

  constructor({ bodiesBytesMax, bodiesPerPeerBytesMax, bodyRoomMs, responseRoomMs }: BodyBudgetBounds) {
    const shares = { bytesMax: bodiesBytesMax, perPeerBytesMax: bodiesPerPeerBytesMax }
    this.requests = new ByteShares({
      ...shares,
      roomMs: bodyRoomMs,
      refusal: (cause, peer) =>
        cause === 'own'
          ? new DomainError(
              'too-many-bytes',
              `Requests of ${peer} of more than ${bodiesPerPeerBytesMax} bytes are being received: send fewer at the same time.`,
            )
          : new DomainError(
              'crowded',
              `Requests of all peers fill most of the ${bodiesBytesMax} bytes that they may take: try again in a moment.`,
            ),
    })
    this.responses = new ByteShares({
      ...shares,
      roomMs: responseRoomMs,
      refusal: (cause, peer) =>
        new DomainError(
          'crowded',
          cause === 'own'
            ? `Responses to ${peer} of ${bodiesPerPeerBytesMax} bytes wait to be read: read them, then try again.`
            : `Responses to all peers fill most of the ${bodiesBytesMax} bytes that they may take: try again in a moment.`,
        ),
    })
  }

  /** The room of one request, and of its response. */
  open(connection: Connection): { readonly request: ByteRoom; readonly response: ByteRoom } {
    const peer = payerOf(connection)
    return { request: this.requests.open(peer), response: this.responses.open(peer) }
  }
}

/** The identity in the certificate; else the address, for IPv6 the network of one customer. */
function payerOf({ peer, remoteAddress }: Pick<Connection, 'peer' | 'remoteAddress'>): string {
  return peer.kind === 'certificate' ? identityKey(peer) : networkOf(hostOf(remoteAddress))
}

/** An IPv4 address as it is, the first 64 bits of an IPv6 address. */
export function networkOf(host: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(host)
  if (mapped) return mapped[1] as string
  if (!host.includes(':')) return host
  const [head = '', tail = ''] = host.split('::')
  const front = head.split(':').filter((group) => group !== '')
  const back = tail.split(':').filter((group) => group !== '')
  const zeros = host.includes('::') ? 8 - front.length - back.length : 0
  const groups = [...front, ...new Array<string>(Math.max(zeros, 0)).fill('0'), ...back]
  return `${groups.slice(0, 4).join(':')}::/64`
}
