import { type NodeId, randomId } from '../../base/ids.ts'
import { noTags, type TagsBySource } from '../../base/node-tags.ts'
import type { CertificatePeer } from '../../identity/caller.ts'

export type NodeStatus = 'registered' | 'online' | 'offline' | 'unregistered'

/** What operators let a SuperNode do; `admission.ts` decides what that means. */
export type Admission = 'open' | 'draining' | 'blocked'

/** A SuperNode as the SuperLink knows it. Instants are epoch milliseconds. */
export interface Node {
  readonly nodeId: NodeId
  /** PEM text as the node sent it; absent when only a certificate speaks for it. */
  readonly publicKey: string | undefined
  readonly identity: string | undefined
  readonly organization: string | undefined
  readonly authMethod: 'key' | 'certificate' | 'none'
  readonly certificateSerial: string | undefined
  readonly certificateNotAfter: number | undefined
  readonly ownerAid: string
  readonly ownerName: string
  /** LATITUDE,LONGITUDE in degrees, and a name for people; both as registered. */
  readonly location: string | undefined
  readonly name: string | undefined
  readonly tags: TagsBySource
  readonly status: NodeStatus
  readonly admission: Admission
  readonly registeredAt: number
  readonly lastActivatedAt: number | undefined
  readonly lastDeactivatedAt: number | undefined
  readonly unregisteredAt: number | undefined
  readonly onlineUntil: number | undefined
  readonly heartbeatIntervalMs: number
}

/** The account of all users without account authentication. */
export const noAccount = { id: '<id:none>', name: 'none' } as const

/** A node stays online for this many heartbeat intervals after the last beat. */
export const heartbeatPatience = 2
export const heartbeatIntervalMs = { min: 10_000, max: 1_800_000, registeredByCli: 30_000 } as const

/** Whether a message can reach the node now, by its last heartbeat. */
export function isReachable(node: Pick<Node, 'status' | 'onlineUntil'>, now: number): boolean {
  return node.status !== 'unregistered' && node.onlineUntil !== undefined && node.onlineUntil > now
}

/** What a node showed of itself. */
export type NodeCredential =
  | { readonly kind: 'key'; readonly publicKey: string }
  /** Neither: it is known by its node id alone. Speaks only for nodes that have joined so. */
  | { readonly kind: 'none' }
  /** `provenKey`: the key by which the node signed the call besides. */
  | { readonly kind: 'certificate'; readonly peer: CertificatePeer; readonly provenKey?: string | undefined }

/** Returns the key by which a node has signed its call. */
export function provenKeyOf(credential: NodeCredential): string | undefined {
  if (credential.kind === 'none') return undefined
  return credential.kind === 'key' ? credential.publicKey : credential.provenKey
}

/** Of that owner, and nothing else known. */
export function newNode(owner: { id: string; name: string }, registeredAt: number): Node {
  return {
    nodeId: randomId<NodeId>(),
    publicKey: undefined,
    identity: undefined,
    organization: undefined,
    authMethod: 'key',
    certificateSerial: undefined,
    certificateNotAfter: undefined,
    ownerAid: owner.id,
    ownerName: owner.name,
    location: undefined,
    name: undefined,
    tags: noTags,
    status: 'registered',
    admission: 'open',
    registeredAt,
    lastActivatedAt: undefined,
    lastDeactivatedAt: undefined,
    unregisteredAt: undefined,
    onlineUntil: undefined,
    heartbeatIntervalMs: 0,
  }
}
