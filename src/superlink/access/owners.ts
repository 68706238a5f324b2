import type { MessageShape } from '@bufbuild/protobuf'
import { DomainError } from '../../base/errors.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import type { Control } from '../../gen/flwr/proto/control_pb.ts'
import type { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import type { OwnerRules } from '../../rpc/service.ts'
import type { SuperlinkContext } from '../context.ts'
import { takeInstructionsApart } from '../delivery/joined-messages.ts'
import type { Node } from '../nodes/node.ts'
import * as nodeStore from '../nodes/node-store.ts'
import { ensureRunRunning, type Run } from '../runs/run.ts'
import type { RunOwners } from '../runs/run-store.ts'
import { type Account, ensureAdmin, ensureMayUnregister, getRunOf, runOwnersOf } from './accounts.ts'
import { ensureInstructionTo, hasWorkIn, isInstructionTo, isObjectFrom, isObjectTo } from './ownership.ts'

/** The owner rules of the access table for the Fleet and the Control API. */

type FleetRequest<K extends keyof typeof Fleet.method> = MessageShape<(typeof Fleet.method)[K]['input']>
type ControlRequest<K extends keyof typeof Control.method> = MessageShape<(typeof Control.method)[K]['input']>
type Caller = { readonly nodeId: NodeId }

/** `false`: it is not the node's, and the response is as if it did not exist. */
export interface FleetOwned {
  readonly instruction: boolean
  readonly 'instruction-received': undefined
  readonly run: Run
  /** The run of the app. */
  readonly app: Run
  readonly 'sent-object': boolean
  readonly 'received-object': boolean
}

/**
 * Every rule needs a run that is running and has asked the node for something. The run of other nodes is refused as one that
 * does not exist, so that no node learns whether it guessed the id of a run.
 */
export function fleetOwners(
  ctx: Pick<SuperlinkContext, 'db' | 'objects' | 'participants' | 'claims'>,
): OwnerRules<FleetOwned> {
  const { participants } = ctx
  const { read } = ctx.db
  /** Returns the id of a running run that has asked the node for something. */
  async function running(nodeId: NodeId, runId: bigint): Promise<RunId> {
    if (await participants.ensureRunning(nodeId, runId as RunId)) return runId as RunId
    throw notVisible(runId)
  }
  return {
    async instruction({ nodeId }: Caller, { messagesList: [message] }: FleetRequest<'pushMessages'>) {
      const metadata = message?.metadata
      if (!metadata) throw new DomainError('invalid-request', 'PushMessages needs one message and its object tree.')
      if (metadata.srcNodeId !== nodeId) throw new DomainError('message-source-mismatch')
      const runId = await running(nodeId, metadata.runId)
      const { replyToMessageId } = metadata
      if (replyToMessageId === '' || ctx.claims.wasHanded(nodeId, runId, replyToMessageId)) return true
      return isInstructionTo(read, nodeId, runId, replyToMessageId)
    },
    async 'instruction-received'({ nodeId }: Caller, request: FleetRequest<'confirmMessageReceived'>) {
      const runId = await running(nodeId, request.runId)
      await ensureInstructionTo(read, nodeId, runId, request.messageObjectId)
      return undefined
    },
    // A node also asks between two of its instructions, to learn whether the run has ended.
    async run({ nodeId }: Caller, { runId }: FleetRequest<'getRun'>) {
      return ensureRunRunning(read, await running(nodeId, runId))
    },
    async app({ nodeId }: Caller, { runId }: FleetRequest<'getFab'>) {
      const asked = await running(nodeId, runId)
      if (await hasWorkIn(read, nodeId, asked)) return ensureRunRunning(read, asked)
      throw notVisible(runId)
    },
    async 'sent-object'({ nodeId }: Caller, { runId, objectId }: FleetRequest<'pushObject'>) {
      return isObjectFrom(read, nodeId, await running(nodeId, runId), objectId)
    },
    async 'received-object'({ nodeId }: Caller, { runId, objectId }: FleetRequest<'pullObject'>) {
      const asked = await running(nodeId, runId)
      if (await isObjectTo(read, nodeId, asked, objectId)) return true
      // A node that received a message with its objects may ask for one of them all the same.
      return (await takeInstructionsApart(ctx, asked, nodeId)) && isObjectTo(read, nodeId, asked, objectId)
    },
  }
}

function notVisible(runId: bigint): DomainError {
  return new DomainError('run-not-running', `Run ID not found: ${runId}`, { auditedAs: 'run-not-visible' })
}

export interface ControlOwned {
  readonly run: Run
  /** All runs that the account sees, and the one that was asked for. */
  readonly runs: { readonly owners: RunOwners; readonly runId: RunId | undefined }
  readonly node: Node
  /** Of admins alone, where accounts have certificates. */
  readonly 'any-node': Node
  readonly fleet: undefined
  readonly federation: undefined
}

export function controlOwners(ctx: Pick<SuperlinkContext, 'db' | 'requireCertificates'>): OwnerRules<ControlOwned> {
  const { read } = ctx.db
  return {
    run: (account: Account, { runId }: ControlRequest<'stopRun' | 'streamLogs' | 'streamRunEvents' | 'showRunNodes'>) =>
      getRunOf(read, account, runId as RunId),
    async runs(account: Account, { runId }: { readonly runId?: bigint }) {
      const run = runId === undefined ? undefined : await getRunOf(read, account, runId as RunId)
      return { owners: runOwnersOf(account), runId: run?.runId }
    },
    async node(account: Account, { nodeId }: ControlRequest<'unregisterNode'>) {
      const node = await nodeStore.find(read, nodeId as NodeId)
      ensureMayUnregister(account, node)
      return node
    },
    async 'any-node'(account: Account, { nodeId }: ControlRequest<'setNodeAdmission'>) {
      ensureAdmin(account)
      const node = await nodeStore.find(read, nodeId as NodeId)
      if (!node) throw new DomainError('node-not-owned')
      return node
    },
    async fleet(account: Account) {
      // If keys let no node in, the method says so to every account.
      if (!ctx.requireCertificates) ensureAdmin(account)
      return undefined
    },
    async federation(account: Account) {
      ensureAdmin(account)
      return undefined
    },
  }
}
