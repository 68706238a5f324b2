import { DomainError } from '../../base/errors.ts'
import type { NodeId } from '../../base/ids.ts'
import { createClientBackend } from '../../execution/client-backend.ts'
import { userConfigToWire } from '../../message/wire.ts'
import type { RuntimeBackend } from '../../tasks/runtime-service.ts'
import type { Task } from '../../tasks/task.ts'
import { getFab } from '../apps/fabs.ts'
import type { SuperlinkContext } from '../context.ts'
import { confirmInstruction } from '../delivery/confirm.ts'
import { appendLog } from '../runs/logs.ts'
import { findRun, runToWire } from '../runs/run.ts'
import { NodeLog } from './node-log.ts'
import * as nodeStateStore from './node-state-store.ts'
import type { VirtualFleet, VirtualWork } from './virtual-fleet.ts'

/** What the ClientApps of virtual nodes ask for. Their objects are those of the SuperLink: nothing is moved. */
export function createVirtualBackend(ctx: SuperlinkContext, fleet: VirtualFleet): RuntimeBackend {
  const { db, objects, tasks, clock } = ctx
  const nodeLog = new NodeLog()
  return createClientBackend<VirtualWork>({
    ...{ db, objects, tasks, clock, sendsLeftObjects: false },
    component: async (task) => (await fleet.runs.get(task.runId)).component,
    findRun: async () => undefined,
    findExecution: (taskId) => fleet.workOf(taskId),
    async taskInput(task, { nodeId }, { makeRoom, isKnownFab }) {
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
        wantsLogs: true,
        fab: {
          hashStr: run.fabHash,
          ...(isKnownFab(run.fabHash) ? {} : { content: await getFab(ctx.db.read, run.fabHash, makeRoom) }),
        },
      }
    },
    async takeLogs({ runId }, { nodeId }, logs) {
      const run = await fleet.runs.get(runId)
      const lines = nodeLog.linesOf(run, nodeId, logs)
      if (lines.length > 0) await appendLog(ctx, runId, lines)
    },
    confirmReceived: ({ metadata }) => confirmInstruction(ctx, metadata.messageId),
    async prepareContext({ runId, nodeId }, { state }) {
      const prepared = state && (await nodeStateStore.prepare(db, state))
      return {
        keep: async (tx) => prepared && nodeStateStore.put(tx, runId, nodeId, prepared),
        [Symbol.asyncDispose]: async () => prepared?.[Symbol.asyncDispose](),
      }
    },
  })
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
    taskInput: (task, makeRoom, wishes) => of(task).taskInput(task, makeRoom, wishes),
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
    pullCheckpoint: (task, request, makeRoom) => of(task).pullCheckpoint(task, request, makeRoom),
    pushTaskOutput: (task, request) => of(task).pushTaskOutput(task, request),
  }
}
