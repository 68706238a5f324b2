import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Clock } from '../base/clock.ts'
import { DomainError } from '../base/errors.ts'
import type { TaskId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import type { MakeRoom } from '../base/make-room.ts'
import { readSeconds } from '../base/read-seconds.ts'
import type { Database, Db } from '../db/database.ts'
import type { Context as WireContext } from '../gen/flwr/proto/message_pb.ts'
import type { PullTaskInputResponseSchema, PushTaskOutputRequest } from '../gen/flwr/proto/runtime_pb.ts'
import type { Metadata } from '../message/message.ts'
import { CarriedRoom, readCarried } from '../objects/carried-objects.ts'
import type { ObjectStore } from '../objects/object-store.ts'
import { flattenTree, isInTree } from '../objects/object-tree.ts'
import { pulledObject, receivedObject } from '../rpc/object-content.ts'
import { messageOfAnother } from '../tasks/app-owners.ts'
import { readClientReply } from '../tasks/client-reply.ts'
import { folderFor, putLeft } from '../tasks/left-files.ts'
import type { RuntimeBackend } from '../tasks/runtime-service.ts'
import type { Task } from '../tasks/task.ts'
import type { Tasks } from '../tasks/tasks.ts'
import type { ClientReply, Execution } from './execution.ts'

/** What differs between the ClientApps of a SuperNode and those of virtual nodes. */
export interface ClientAppHost<E extends Execution> extends Pick<RuntimeBackend, 'component' | 'findRun'> {
  /** Takes what an app prints; absent if it is not kept. */
  takeLogs?(task: Task, execution: E, logs: readonly string[]): Promise<void>
  readonly db: Database
  readonly objects: ObjectStore
  readonly tasks: Tasks
  readonly clock: Clock
  /** Objects that an app leaves as files stay where they are: they are sent from there, and hashed where they arrive. */
  readonly sendsLeftObjects: boolean
  findExecution(taskId: TaskId): E | undefined
  /** `isKnownFab` says which app the caller has: its content is left out. */
  taskInput(
    task: Task,
    execution: E,
    options: { makeRoom: MakeRoom | undefined; isKnownFab: (fabHash: string) => boolean },
  ): ReturnType<RuntimeBackend['taskInput']>
  /** All objects of the instruction are at the app. */
  confirmReceived(execution: E): Promise<void>
  /** Prepares to keep the context of an app, outside of the transaction that then keeps it and ends the task. */
  prepareContext(execution: E, context: WireContext): Promise<KeptContext>
}

export interface KeptContext extends AsyncDisposable {
  keep(tx: Db): Promise<void>
}

/** What ClientApps ask for, wherever their node is. */
export function createClientBackend<E extends Execution>(host: ClientAppHost<E>): RuntimeBackend {
  const { db, objects, tasks, clock } = host
  const executionOf = (task: Task): E => {
    const execution = host.findExecution(task.taskId)
    if (!execution) throw new DomainError('task-state', 'The instruction of this task is gone.')
    return execution
  }
  return {
    component: (task) => host.component(task),
    findRun: (runId) => host.findRun(runId),
    async taskInput(task, makeRoom, wishes) {
      const execution = executionOf(task)
      const along = await messageAlong(objects, execution, wishes?.objectsBytesMax ?? 0)
      if (wishes?.messageRequired && !along) return {}
      const isKnownFab = (fabHash: string): boolean => fabHash === wishes?.fabHash
      const input = await host.taskInput(task, execution, { makeRoom, isKnownFab })
      return { ...input, ...along, objectsBytesMax: limits.carriedBytesMax }
    },
    async maySend(task, objectId) {
      const { reply } = executionOf(task)
      return reply !== undefined && isInTree(reply.tree, objectId)
    },
    async mayRead(task, objectId) {
      const { tree, reply } = executionOf(task)
      return isInTree(tree, objectId) || (reply !== undefined && isInTree(reply.tree, objectId))
    },
    async ensureReceiver(task, messageIds) {
      const { messageId } = executionOf(task).metadata
      for (const id of messageIds) if (id !== messageId) throw messageOfAnother(id)
    },
    async pullMessages(task) {
      const { wire, tree } = executionOf(task)
      return { messagesList: [wire], messageObjectTrees: [tree] }
    },
    pullObject: async (_task, { objectId, takesFile }, wait) =>
      pulledObject(await objects.open(objectId, wait), { takesFile }),
    confirmMessageReceived: async (task) => host.confirmReceived(executionOf(task)),
    async pushMessages(task, request) {
      const execution = executionOf(task)
      const { wire, tree } = readClientReply(execution.metadata, request)
      const ids = flattenTree(tree)
      const objectsToPush = await keepingReply(execution, (setReply) =>
        db.transaction(async (tx, afterCommit) => {
          await tasks.ensureOpen(tx, task.taskId)
          const earlier = execution.reply?.tree.objectId
          if (earlier !== undefined && earlier !== tree.objectId) await objects.release(tx, afterCommit, [earlier])
          const missing = await objects.announce(tx, tree.objectId, ids)
          setReply({ wire, tree, missing: new Set(missing), left: new Map() })
          return missing
        }),
      )
      const objectFolder = await folderFor(objects, task, { objectsToPush, leavesFiles: request.leavesFiles })
      return { messageIds: [tree.objectId], objectsToPush, sessionId: task.taskId.toString(), objectFolder }
    },
    async pushObject(task, request) {
      const { objectId, inFile } = request
      const { reply } = executionOf(task)
      if (inFile && host.sendsLeftObjects) {
        const size = await objects.left.sizeOf(task.taskId, objectId)
        if (size === undefined) return { stored: false, fileMissing: true }
        reply?.left?.set(objectId, size)
        reply?.missing.delete(objectId)
        return { stored: true }
      }
      const response = inFile
        ? await putLeft(objects, task, objectId, (content) => objects.put(objectId, content))
        : { stored: (await objects.put(objectId, receivedObject(request))) === 'stored' }
      if (response.stored) reply?.missing.delete(objectId)
      return response
    },
    getNodes: async () => notHere(),
    pushLogs: async (task, { logs }) => host.takeLogs?.(task, executionOf(task), logs),
    pushTaskEvents: async () => {},
    saveCheckpoint: async () => notHere(),
    pullCheckpoint: async () => notHere(),
    async pushTaskOutput(task, request) {
      const { subStatus, details, context, clientappRuntime } = request
      if (subStatus !== 'completed' && subStatus !== 'failed' && subStatus !== 'stopped')
        throw new DomainError('invalid-request', `Unknown sub status '${subStatus}'.`)
      // Absent if the execution is over, or began before a restart.
      const execution = host.findExecution(task.taskId)
      const reply = execution && (await readReply(execution.metadata, request))
      await using kept = execution && context && (await host.prepareContext(execution, context))
      try {
        await keepingReply(execution, (setReply) =>
          db.transaction(async (tx, afterCommit) => {
            if (execution) {
              if (reply) {
                await tasks.ensureOpen(tx, task.taskId)
                if (execution.reply) await objects.release(tx, afterCommit, [execution.reply.tree.objectId])
                setReply(reply)
              }
              execution.runtimeSeconds = readSeconds(clientappRuntime) ?? secondsOf(task, clock.now())
              // The end of the task looks at this.
              execution.isFinal = true
            }
            const isFinished = await tasks.finish(tx, afterCommit, task.taskId, subStatus, details)
            if (isFinished) await kept?.keep(tx)
            // At once: the transaction that did end the task may share this commit.
            else if (execution) execution.isFinal = false
          }),
        )
      } catch (error) {
        if (execution) execution.isFinal = false
        throw error
      }
    },
  }
}

/**
 * Replaces the reply within a transaction, because the end of the task, which may share its commit, releases the objects of the
 * reply. If the transaction fails, the last reply that was committed stands: one that was set in between may have failed with the
 * same commit.
 */
async function keepingReply<T>(
  execution: Execution | undefined,
  store: (setReply: (reply: ClientReply) => void) => Promise<T>,
): Promise<T> {
  let reply: ClientReply | undefined
  const setReply = (next: ClientReply): void => {
    reply = next
    if (execution) execution.reply = next
  }
  try {
    const result = await store(setReply)
    if (execution && reply) execution.storedReply = reply
    return result
  } catch (error) {
    if (execution && reply && execution.reply === reply) execution.reply = execution.storedReply
    throw error
  }
}

/** The instruction with all its objects, if they have no more bytes than this and are all here. */
async function messageAlong(
  objects: ObjectStore,
  { wire, tree }: Execution,
  bytesMax: number,
): Promise<
  Pick<MessageInitShape<typeof PullTaskInputResponseSchema>, 'message' | 'messageObjectTree' | 'objects'> | undefined
> {
  if (bytesMax === 0) return undefined
  const ids = flattenTree(tree)
  if (ids.length > limits.carriedObjectsMax) return undefined
  const sizes = await objects.sizesOf(ids)
  const room = new CarriedRoom(Math.min(bytesMax, limits.carriedBytesMax))
  if (sizes.size < ids.length || room.take(sizes) !== 'fits') return undefined
  const contents = await objects.contentsOf(ids)
  if (contents.size < ids.length) return undefined
  return { message: wire, messageObjectTree: tree, objects: [...contents.values()] }
}

/** The reply that came with the end of a task, or `undefined`. Throws `invalid-request` unless all its objects came along. */
async function readReply(
  instruction: Metadata,
  { reply, replyObjectTree, objects }: Pick<PushTaskOutputRequest, 'reply' | 'replyObjectTree' | 'objects'>,
): Promise<ClientReply | undefined> {
  if (!reply || !replyObjectTree) return undefined
  const read = readClientReply(instruction, { messagesList: [reply], messageObjectTrees: [replyObjectTree] })
  const carried = await readCarried(objects, [read.tree], limits.carriedBytesMax)
  if (flattenTree(read.tree).some((id) => !carried.has(id)))
    throw new DomainError('invalid-request', 'A reply that comes with the end of its task brings all its objects.')
  return { ...read, missing: new Set(), carried }
}

function notHere(): never {
  throw new DomainError('task-forbidden', 'ClientApps have no access to that.')
}

/** Python's apps do not say how long they took. */
function secondsOf(task: Task, now: number): number | undefined {
  return task.runningAt === undefined ? undefined : (now - task.runningAt) / 1000
}
