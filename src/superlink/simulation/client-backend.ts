import { DomainError } from '../../base/errors.ts'
import type { NodeId } from '../../base/ids.ts'
import { metadataFromWire, userConfigToWire } from '../../message/wire.ts'
import { flattenTree, isInTree } from '../../objects/object-tree.ts'
import { messageOfAnother } from '../../tasks/app-owners.ts'
import { readClientReply } from '../../tasks/client-reply.ts'
import type { RuntimeBackend } from '../../tasks/runtime-service.ts'
import type { Task } from '../../tasks/task.ts'
import { getFab } from '../apps/fabs.ts'
import type { SuperlinkContext } from '../context.ts'
import { confirmInstruction } from '../delivery/confirm.ts'
import * as messageStore from '../delivery/message-store.ts'
import { findRun, runToWire } from '../runs/run.ts'
import * as nodeStateStore from './node-state-store.ts'
import type { VirtualFleet, VirtualWork } from './virtual-fleet.ts'

/** What the ClientApps of virtual nodes ask for. Their objects are those of the SuperLink: nothing is moved. */
export function createClientBackend(ctx: SuperlinkContext, fleet: VirtualFleet): RuntimeBackend {
  const workOf = (task: Task): VirtualWork => {
    const work = fleet.workOf(task.taskId)
    if (!work) throw new DomainError('task-state', 'The instruction of this task is gone.')
    return work
  }
  const notHere = (): never => {
    throw new DomainError('task-forbidden', 'ClientApps have no access to that.')
  }
  return {
    component: async (task) => (await fleet.runs.get(task.runId)).component,
    async taskInput(task, makeRoom) {
      const { nodeId } = workOf(task)
      const virtual = await fleet.runs.get(task.runId)
      const run = await findRun(ctx.db.read, task.runId)
      if (!run) throw new DomainError('task-state', 'The run of this task is gone.')
      const state = await nodeStateStore.find(ctx.db.read, task.runId, nodeId, makeRoom)
      return {
        context: {
          runId: task.runId,
          nodeId,
          seriesId: virtual.seriesId,
          nodeConfig: userConfigToWire(nodeConfigOf(virtual, nodeId)),
          runConfig: userConfigToWire(virtual.runConfig),
          state: state ?? {},
        },
        run: runToWire(run),
        fab: { hashStr: run.fabHash, content: await getFab(ctx.db.read, run.fabHash, makeRoom) },
      }
    },
    findRun: async () => undefined,
    async maySend(task, objectId) {
      const { reply } = workOf(task)
      return reply !== undefined && isInTree(reply.tree, objectId)
    },
    async mayRead(task, objectId) {
      const work = workOf(task)
      return [work.instruction.tree, work.reply?.tree].some((tree) => tree && isInTree(tree, objectId))
    },
    async ensureReceiver(task, messageId) {
      const work = workOf(task)
      if (messageId !== work.instruction.metadata.messageId) throw messageOfAnother(messageId)
    },
    async pullMessages(task) {
      const { instruction } = workOf(task)
      return { messagesList: [messageStore.toWire(instruction)], messageObjectTrees: [instruction.tree] }
    },
    async pullObject(_task, request, wait) {
      const object = await ctx.objects.get(request.objectId, wait)
      if (!object) return { objectFound: false }
      return object.content
        ? { objectFound: true, objectAvailable: true, objectContent: object.content }
        : { objectFound: true, objectAvailable: false }
    },
    confirmMessageReceived: (task) => confirmInstruction(ctx, workOf(task).instruction.metadata.messageId),
    async pushMessages(task, request) {
      const work = workOf(task)
      const { wire, tree } = readClientReply(work.instruction.metadata, request)
      const metadata = metadataFromWire(wire.metadata)
      const error = wire.error && { code: Number(wire.error.code), reason: wire.error.reason }
      const ids = flattenTree(tree)
      const objectsToPush = await ctx.db.transaction(async (tx, afterCommit) => {
        await ctx.tasks.ensureOpen(tx, task.taskId)
        const earlier = work.reply?.metadata.messageId
        if (earlier !== undefined && earlier !== tree.objectId) await ctx.objects.release(tx, afterCommit, [earlier])
        const missing = await ctx.objects.announce(tx, tree.objectId, ids)
        // Within the transaction: the end of the task, which may share its commit, lets go of these objects.
        work.reply = { metadata, error, tree }
        work.missing = new Set(missing)
        return missing
      })
      return { messageIds: [tree.objectId], objectsToPush, sessionId: task.taskId.toString() }
    },
    async pushObject(task, request) {
      const { missing } = workOf(task)
      const stored = (await ctx.objects.put(request.objectId, request.objectContent)) === 'stored'
      if (stored) missing.delete(request.objectId)
      return { stored }
    },
    getNodes: async () => notHere(),
    pushLogs: async () => {},
    pushTaskEvents: async () => {},
    saveCheckpoint: async () => notHere(),
    async pushTaskOutput(task, request) {
      const { subStatus, details, context } = request
      if (subStatus !== 'completed' && subStatus !== 'failed' && subStatus !== 'stopped')
        throw new DomainError('invalid-request', `Unknown sub status '${subStatus}'.`)
      const work = workOf(task)
      const { nodeId, runId } = work
      const clientappSeconds = request.clientappRuntime ?? (ctx.clock.now() - (task.runningAt ?? task.pendingAt)) / 1000
      ctx.traffic.add(runId, { clientappSeconds })
      await using state = context?.state && (await nodeStateStore.prepare(ctx.db, context.state))
      await ctx.db.transaction(async (tx, afterCommit) => {
        work.isFinal = true
        const finished = await ctx.tasks.finish(tx, afterCommit, task.taskId, subStatus, details)
        if (finished && state) await nodeStateStore.put(tx, runId, nodeId, state)
      })
    },
  }
}

/** As in Flower's simulations: which part of the data the node has, and of how many. */
function nodeConfigOf(run: { partitions: ReadonlyMap<NodeId, number>; nodeIds: readonly NodeId[] }, nodeId: NodeId) {
  return { 'partition-id': BigInt(run.partitions.get(nodeId) ?? 0), 'num-partitions': BigInt(run.nodeIds.length) }
}

/** In a simulation ServerApps and ClientApps ask the same SuperLink. */
export function byTaskType(server: RuntimeBackend, client: RuntimeBackend): RuntimeBackend {
  const of = (task: Task): RuntimeBackend => (task.type === 'flwr-clientapp' ? client : server)
  return {
    component: (task) => of(task).component(task),
    taskInput: (task, makeRoom) => of(task).taskInput(task, makeRoom),
    findRun: (runId) => server.findRun(runId),
    maySend: (task, objectId) => of(task).maySend(task, objectId),
    mayRead: (task, objectId) => of(task).mayRead(task, objectId),
    ensureReceiver: (task, messageId) => of(task).ensureReceiver(task, messageId),
    pushMessages: (task, request) => of(task).pushMessages(task, request),
    pullMessages: (task, replyTo, wait) => of(task).pullMessages(task, replyTo, wait),
    pushObject: (task, request) => of(task).pushObject(task, request),
    pullObject: (task, request, wait) => of(task).pullObject(task, request, wait),
    confirmMessageReceived: (task, request) => of(task).confirmMessageReceived(task, request),
    getNodes: (task, wait) => of(task).getNodes(task, wait),
    pushLogs: (task, request) => of(task).pushLogs(task, request),
    pushTaskEvents: (task, request) => of(task).pushTaskEvents(task, request),
    saveCheckpoint: (task, request) => of(task).saveCheckpoint(task, request),
    pushTaskOutput: (task, request) => of(task).pushTaskOutput(task, request),
  }
}
