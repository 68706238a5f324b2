import { Bell } from '../base/bell.ts'
import type { Clock } from '../base/clock.ts'
import type { NodeId, RunId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { StorageRoom } from '../base/storage-room.ts'
import type { Database } from '../db/database.ts'
import type { ObjectStore } from '../objects/object-store.ts'
import type { Tasks } from '../tasks/tasks.ts'
import type { Participants } from './access/participants.ts'
import type { SecurityView } from './access/security-view.ts'
import type { CheckedReplies } from './delivery/checked-replies.ts'
import type { Claims } from './delivery/claims.ts'
import type { PassingReplies } from './delivery/passing-replies.ts'
import type { ReplyIntake } from './delivery/replies.ts'
import { ReplyWaiters } from './delivery/reply-waiters.ts'
import type { EventLog } from './events/event-log.ts'
import type { KnownNodes } from './nodes/known-nodes.ts'
import type { LiveNodes } from './nodes/live-nodes.ts'
import type { RunNodes } from './nodes/run-nodes.ts'
import type { Uploads } from './nodes/uploads.ts'
import type { Quotas } from './quotas/quotas.ts'
import type { CheckpointUploads } from './runs/checkpoint-pieces.ts'
import type { RunProgress } from './runs/progress.ts'
import type { Traffic } from './runs/traffic.ts'
import type { Machine } from './simulation/settings.ts'
import type { VirtualFleet } from './simulation/virtual-fleet.ts'

/** What the rules of the SuperLink work with. Functions ask for the parts they use. */
export interface SuperlinkContext {
  readonly db: Database
  readonly objects: ObjectStore
  /** Whether the disks have room for both. */
  readonly room: StorageRoom
  /** How much runs and SuperNodes may take. */
  readonly quotas: Quotas
  readonly tasks: Tasks
  readonly clock: Clock
  readonly log: Logger
  readonly bells: Bells
  /** What happens, for programs outside. */
  readonly events: EventLog
  readonly traffic: Traffic
  readonly progress: RunProgress
  readonly claims: Claims
  readonly replyIntake: ReplyIntake
  readonly passingReplies: PassingReplies
  readonly checkedReplies: CheckedReplies
  /** The nodes that runs may use. */
  readonly runNodes: RunNodes
  /** Set when runs are simulated (`--simulation`); then `runNodes` is its fleet. */
  readonly simulation: { readonly fleet: VirtualFleet; readonly machine: Machine } | undefined
  /** Certificates in use, and the refused peers. */
  readonly security: SecurityView
  /** Which nodes work for the runs that are running. */
  readonly participants: Participants
  /** The nodes that call, and until when each is online. */
  readonly knownNodes: KnownNodes
  /** Which connection speaks for which node now. */
  readonly liveNodes: LiveNodes
  /** Which nodes are uploading objects now. */
  readonly uploads: Uploads
  /** Checkpoints whose pieces are arriving. */
  readonly checkpointUploads: CheckpointUploads
  /** Whether every peer of the Fleet and Control APIs must present a certificate. */
  readonly requireCertificates: boolean
  /** Only registered keys may join (`--enable-supernode-auth`). */
  readonly supernodeAuth: boolean
  /** SuperNodes may join that prove neither a certificate nor a key. */
  readonly unprovenNodes: boolean
}

/** Rung after commit. */
export interface Bells {
  /** An instruction for this node. */
  readonly instructions: Bell<NodeId>
  /** Replies, and reasons why some will not come. */
  readonly replies: ReplyWaiters
  /** The nodes that this run may use have changed, or the run has ended. */
  readonly nodes: Bell<RunId>
  /** Rings when followers of this run have something to read: log, events, status. */
  readonly runs: Bell<RunId>
  /** A reply whose objects have not all come. */
  readonly incomplete: Bell<'incomplete'>
  /** Something was recorded for programs that follow the events of the SuperLink. */
  readonly events: Bell<'events'>
  /** The next deadline of a node or message may have changed. */
  readonly deadlines: Bell<'deadlines'>
}

export function createBells(): Bells {
  return {
    instructions: new Bell(),
    replies: new ReplyWaiters(),
    nodes: new Bell(),
    runs: new Bell(),
    incomplete: new Bell(),
    events: new Bell(),
    deadlines: new Bell(),
  }
}
