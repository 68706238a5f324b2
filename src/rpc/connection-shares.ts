import { type CertificatePeer, identityKey, type PeerIdentity, type RefusedPeer } from '../identity/caller.ts'
import { refusalSentence } from '../identity/refusal-sentence.ts'
import { hostOf } from './address.ts'
import { networkOf } from './body-budget.ts'
import type { Connection } from './call.ts'
import type { ConnectionBounds } from './connection-bounds.ts'
import type { JudgePeer } from './judged-connection.ts'

/**
 * Bounds the connections of each identity, and of each address without a certificate: otherwise one peer could take all
 * connections that there can be. Certificates that processes share are not counted.
 */
export class ConnectionShares {
  readonly #open = new Map<string, number>()
  readonly #bounds: Pick<ConnectionBounds, 'connectionsPerIdentityMax' | 'connectionsPerAddressMax'>

  constructor(bounds: Pick<ConnectionBounds, 'connectionsPerIdentityMax' | 'connectionsPerAddressMax'>) {
    this.#bounds = bounds
  }

  /** The same judgement, which refuses a new connection beyond the share of its peer. */
  limit(judge: JudgePeer, remoteAddress: string): JudgePeer {
    return (chain, when) => {
      const peer = judge(chain, when)
      return when === 'new' ? this.#limited(peer, remoteAddress) : peer
    }
  }

  /** Counts a connection; the returned function ends that. */
  enter({ peer, remoteAddress }: Pick<Connection, 'peer' | 'remoteAddress'>): () => void {
    const key = keyOf(peer, hostOf(remoteAddress))
    if (key === undefined) return () => {}
    this.#open.set(key, (this.#open.get(key) ?? 0) + 1)
    return () => {
      const left = (this.#open.get(key) ?? 1) - 1
      if (left > 0) this.#open.set(key, left)
      else this.#open.delete(key)
    }
  }

  #limited(peer: PeerIdentity, remoteAddress: string): PeerIdentity {
    const key = keyOf(peer, remoteAddress)
    const { connectionsPerIdentityMax, connectionsPerAddressMax } = this.#bounds
    const max = peer.kind === 'certificate' ? connectionsPerIdentityMax : connectionsPerAddressMax
    if (key === undefined || (this.#open.get(key) ?? 0) < max) return peer
    return refusedPeer(peer, `${peer.kind === 'certificate' ? peer.identity : networkOf(remoteAddress)}, ${max}`)
  }
}

function refusedPeer(peer: PeerIdentity, what: string): RefusedPeer {
  const unknown = { identity: '', organization: '', serial: '', fingerprint: '' }
  const { identity, organization, serial, fingerprint } = peer.kind === 'certificate' ? peer : unknown
  const reason = 'too-many-connections'
  return {
    ...{ kind: 'refused', reason, sentence: refusalSentence(reason, what) },
    ...{ identity, organization, serial, fingerprint },
  } as const
}

function keyOf(peer: PeerIdentity, remoteAddress: string): string | undefined {
  if (peer.kind === 'anonymous') return `address ${networkOf(remoteAddress)}`
  return isCounted(peer) ? `identity ${identityKey(peer)}` : undefined
}

/** Processes that share an identity may be any number. */
function isCounted(peer: PeerIdentity): peer is CertificatePeer {
  return peer.kind === 'certificate' && peer.identitySharing === 'refuse'
}
