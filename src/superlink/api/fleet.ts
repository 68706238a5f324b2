import { fleetAccess } from '../../access/table.ts'
import { DomainError } from '../../base/errors.ts'
import type { NodeId, RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import type { Db } from '../../db/database.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import { isPublicKeyPem } from '../../identity/node-key.ts'
import { readCarried } from '../../objects/carried-objects.ts'
import { pulledObject, receivedObject } from '../../rpc/object-content.ts'
import { callerKind, defineService, type Service } from '../../rpc/service.ts'
import { type FleetOwned, fleetOwners } from '../access/owners.ts'
import { getFab } from '../apps/fabs.ts'
import type { SuperlinkContext } from '../context.ts'
import { failMessagesWith } from '../delivery/broken-replies.ts'
import { confirmInstruction } from '../delivery/confirm.ts'
import { claimInstruction, offerAgain } from '../delivery/instructions.ts'
import type { NewMessage } from '../delivery/message-store.ts'
import * as messageStore from '../delivery/message-store.ts'
import { type Acceptance, acceptReply, refuseReply } from '../delivery/replies.ts'
import { acceptUnprompted, takeRoomForObject } from '../delivery/unprompted.ts'
import { sessionOf, wasTakenUp } from '../delivery/upload-sessions.ts'
import { packMessages } from '../delivery/whole-messages.ts'
import * as nodes from '../nodes/nodes.ts'
import { runToWire } from '../runs/run.ts'
import { type FleetCallers, fleetCallers } from './authenticate.ts'
import { HeldCalls } from './held-calls.ts'
import { unservedFleetCalls } from './unserved-calls.ts'

/** The Fleet API: checks the request, calls the rule, shapes the reply. */
export function createFleetService(ctx: SuperlinkContext): Service {
  const held = new HeldCalls()
  const redeliveries = new LogThrottle(ctx.clock)
  return defineService<typeof Fleet, FleetCallers, typeof fleetAccess, FleetOwned>(Fleet, {
    access: fleetAccess,
    callers: fleetCallers(ctx),
    owners: fleetOwners(ctx),
    unserved: unservedFleetCalls,
    files: ctx.objects,
    handlers: {
      async registerNode(request, _call, { credential }) {
        return { nodeId: await nodes.registerNode(ctx, credential, pemText(request.publicKey)) }
      },
      async activateNode(request, call, { credential, speaker }) {
        const nodeId = await nodes.activateNode(ctx, credential, {
          publicKey: pemText(request.publicKey),
          heartbeatIntervalMs: request.heartbeatInterval * 1000,
          speaker,
          tags: request.tags,
        })
        ctx.log.info('SuperNode activated', {
          node: nodeId,
          by: credential.kind,
          peer: call.connection.remoteAddress,
          ...(credential.kind === 'certificate' ? { identity: credential.peer.identity } : {}),
        })
        return { nodeId }
      },
      async deactivateNode(_request, _call, { nodeId }) {
        await nodes.deactivateNode(ctx, nodeId)
        ctx.log.info('SuperNode deactivated', { node: nodeId })
        return {}
      },
      async unregisterNode(_request, _call, { nodeId, credential }) {
        if (ctx.supernodeAuth && credential.kind === 'key') throw new DomainError('nodes-unregister-by-cli')
        await nodes.unregisterNode(ctx, nodeId)
        return {}
      },
      async sendNodeHeartbeat(request, _call, { nodeId }) {
        return { success: await nodes.heartbeat(ctx, nodeId, request.heartbeatInterval * 1000) }
      },
      async pullMessages(request, call, { nodeId }) {
        const { endedRuns } = ctx.tasks
        const seen = request.endedRunsSeen
        const endedAfter = seen === undefined ? undefined : endedRuns.position(seen)
        if (request.responseLost) await offerAgain(ctx, redeliveries, nodeId)
        const heartbeatCounted = ctx.knownNodes.beat(nodeId, request.heartbeatInterval * 1000, ctx.clock.now())
        const message = await held.hold(nodeId, call.waitMs ?? limits.heldStrangerCallMs, (waitMs) =>
          claimInstruction(ctx, nodeId, {
            ...{ waitMs, signal: call.signal, hungUp: call.hungUp, endedAfter },
            takesWhole: request.objectsBytesMax > 0,
          }),
        )
        const news = endedAfter === undefined ? {} : endedRuns.news(endedAfter, nodeId)
        const ours = endedAfter === undefined ? {} : { objectsBytesMax: limits.carriedBytesMax, heartbeatCounted }
        if (!message) return { ...news, ...ours }
        const bytesMax = Math.min(request.objectsBytesMax, limits.carriedBytesMax)
        const packing = packMessages(ctx, [message], { bytesMax, makeRoom: call.makeRoom })
        // The node has been given the message already: whatever happens now, it can still fetch its objects.
        const { objects } = await packing.catch(() => ({ objects: [] }))
        return {
          ...{ ...news, ...ours },
          messagesList: [messageStore.toWire(message)],
          messageObjectTrees: [message.tree],
          objects: [...objects],
        }
      },
      async pushMessages(request, _call, { nodeId }, isOwn) {
        const [wire] = request.messagesList
        const [tree] = request.messageObjectTrees
        if (!wire || !tree)
          throw new DomainError('invalid-request', 'PushMessages needs one message and its object tree.')
        const message = messageStore.fromWire(wire, tree)
        const { metadata } = message
        using _room = await ctx.quotas.takeMessages(metadata.runId as RunId, isOwn ? [tree] : [])
        const accept = metadata.replyToMessageId === '' ? acceptUnprompted : acceptReplyWith(request.objects)
        const { accepted, objectsToPush } = isOwn
          ? await accept(ctx, nodeId, message)
          : refuseReply(ctx, nodeId, metadata)
        return {
          reconnect: { reconnect: 5n },
          results: { [accepted ? metadata.messageId : 'None']: 0 },
          objectsToPush: [...objectsToPush],
          sessionId: sessionOf(metadata),
        }
      },
      getRun: async (_request, _call, _node, run) => ({ run: runToWire(run) }),
      async getFab(request, call, _node, run) {
        if (request.hashStr !== run.fabHash) {
          throw new DomainError(
            'fab-not-visible',
            `Requested FAB hash ${request.hashStr} does not match run FAB hash ${run.fabHash}.`,
          )
        }
        return { fab: { hashStr: run.fabHash, content: await getFab(ctx.db.read, run.fabHash, call.makeRoom) } }
      },
      async pushObject(request, _call, { nodeId }, isOwn) {
        const { runId, objectId, sessionId } = request
        const content = receivedObject(request)
        const failMessage = async (error: unknown): Promise<never> => {
          const isMalformed = error instanceof DomainError && error.code === 'object-malformed'
          if (isMalformed) await failMessagesWith(ctx, { nodeId, runId: runId as RunId, objectId }, error)
          throw error
        }
        // Asked again when it is stored: the reply may be withdrawn in between.
        const part = { nodeId, runId: runId as RunId, objectId }
        const isWanted = (tx: Db): Promise<boolean> => takeRoomForObject(tx, part, content.length)
        const put = async () => {
          using _room = await ctx.quotas.takeBytes(part, content.length)
          return await ctx.objects.put(objectId, content, isWanted)
        }
        const result = isOwn ? await put().catch(failMessage) : 'unknown'
        if (result === 'unknown') return { stored: await wasTakenUp(ctx, nodeId, sessionId) }
        if (result !== 'stored') return { stored: false }
        ctx.traffic.add(runId as RunId, { received: content.length })
        return { stored: true }
      },
      async pullObject(request, call, _node, isOwn) {
        if (!isOwn) return { objectFound: false, objectAvailable: false }
        const waitMs = call.waitMs ?? limits.heldStrangerCallMs
        const wait = { waitMs, signal: call.signal, makeRoom: call.makeRoom }
        return pulledObject(await ctx.objects.open(request.objectId, wait))
      },
      async confirmMessageReceived(request) {
        await confirmInstruction(ctx, request.messageObjectId)
        return {}
      },
    },
  })
}

/** A reply with an object that no app could read becomes an error, as if the object had been uploaded by itself. */
function acceptReplyWith(objects: readonly Uint8Array[]) {
  return async (ctx: SuperlinkContext, nodeId: NodeId, reply: NewMessage): Promise<Acceptance> => {
    const { messageId, runId } = reply.metadata
    try {
      const carried = await readCarried(objects, [reply.tree], limits.carriedBytesMax)
      using _room = await ctx.quotas.takeCarried({ nodeId, runId: runId as RunId }, carried)
      return await acceptReply(ctx, nodeId, reply, carried)
    } catch (error) {
      if (!(error instanceof DomainError) || error.code !== 'object-malformed') throw error
      await acceptReply(ctx, nodeId, reply)
      await failMessagesWith(ctx, { nodeId, runId: runId as RunId, objectId: messageId }, error)
      throw error
    }
  }
}

/** The Fleet API where nodes are virtual: a SuperNode that comes is told why it cannot join. */
export function createNoFleetService(): Service {
  const refuse = (): never => {
    throw new DomainError(
      'unsupported',
      'This SuperLink simulates its SuperNodes (--simulation): others cannot join it.',
    )
  }
  const handlers = Object.fromEntries(Object.keys(Fleet.method).map((name) => [name, refuse]))
  const callers = { 'joining-node': callerKind(async () => refuse()), node: callerKind(async () => refuse()) }
  const owners = Object.fromEntries(Object.values(fleetAccess).map(({ of }) => [of, async () => refuse()]))
  return { desc: Fleet, access: fleetAccess, callers, owners, handlers }
}

/** A key that no node of any release sends is refused: it would be stored and shown in every list of nodes. */
function pemText(publicKey: Uint8Array): string {
  if (!isPublicKeyPem(publicKey)) throw new DomainError('public-key-invalid')
  return Buffer.from(publicKey).toString('latin1')
}
