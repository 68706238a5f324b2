import { type CertificatePeer, identityKey, type PeerIdentity } from '../identity/caller.ts'
import { refusalSentence } from '../identity/refusal-sentence.ts'

/** Counts the connections of each identity: who has a certificate could otherwise take all that there can be. */
export class IdentityShares {
  readonly #open = new Map<string, number>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  /** The peer of a new connection, refused where its identity has its share. */
  judge(peer: PeerIdentity): PeerIdentity {
    if (!isCounted(peer) || (this.#open.get(identityKey(peer)) ?? 0) < this.#max) return peer
    const { identity, organization, serial, fingerprint } = peer
    const reason = 'too-many-connections'
    const sentence = refusalSentence(reason, `${identity}, ${this.#max}`)
    return { kind: 'refused', reason, sentence, identity, organization, serial, fingerprint }
  }

  /** Counts a connection; answers what is to be called at its end. */
  enter(peer: PeerIdentity): () => void {
    if (!isCounted(peer)) return () => {}
    const key = identityKey(peer)
    this.#open.set(key, (this.#open.get(key) ?? 0) + 1)
    return () => {
      const left = (this.#open.get(key) ?? 1) - 1
      if (left > 0) this.#open.set(key, left)
      else this.#open.delete(key)
    }
  }
}

/** Where processes share an identity there is no telling how many they are. */
function isCounted(peer: PeerIdentity): peer is CertificatePeer {
  return peer.kind === 'certificate' && peer.identitySharing === 'refuse'
}
