import { DomainError } from '../base/errors.ts'
import type { RunId } from '../base/ids.ts'
import { contextFromWire, contextToWire } from '../message/wire.ts'
import { flattenTree, isInTree } from '../objects/object-tree.ts'
import { messageOfAnother } from '../tasks/app-owners.ts'
import { readClientReply } from '../tasks/client-reply.ts'
import type { RuntimeBackend } from '../tasks/runtime-service.ts'
import type { Task } from '../tasks/task.ts'
import type { SupernodeContext } from './context.ts'
import type { Work } from './work.ts'

/** What ClientApps ask of a SuperNode. */
export function createSupernodeBackend(ctx: SupernodeContext): RuntimeBackend {
  const workOf = (task: Task): Work => {
    const work = ctx.work.ofTask(task.taskId)
    if (!work) throw new DomainError('task-state', 'The instruction of this task is gone.')
    return work
  }
  const notHere = (): never => {
    throw new DomainError('task-forbidden', 'ClientApps have no access to that.')
  }
  return {
    component: async (task) => (await ctx.runs.get(task.runId)).component,
    async taskInput(task) {
      const run = await ctx.runs.get(task.runId)
      return { context: contextToWire(run.context), run: run.wire, fab: run.fab }
    },
    findRun: async (runId) => (await ctx.runs.get(runId)).wire,
    async maySend(task, objectId) {
      const { reply } = workOf(task)
      return reply !== undefined && isInTree(reply.tree, objectId)
    },
    async mayRead(task, objectId) {
      const work = workOf(task)
      return [work.tree, work.reply?.tree].some((tree) => tree && isInTree(tree, objectId))
    },
    async ensureReceiver(task, messageId) {
      const work = workOf(task)
      if (messageId !== work.metadata.messageId) throw messageOfAnother(messageId)
    },
    async pullMessages(task) {
      const work = workOf(task)
      return { messagesList: [work.wire], messageObjectTrees: [work.tree] }
    },
    async pullObject(_task, request, wait) {
      const object = await ctx.objects.get(request.objectId, wait)
      if (!object) return { objectFound: false }
      return object.content
        ? { objectFound: true, objectAvailable: true, objectContent: object.content }
        : { objectFound: true, objectAvailable: false }
    },
    // The instruction is kept until its reply has reached the SuperLink.
    confirmMessageReceived: async () => {},
    async pushMessages(task, request) {
      const work = workOf(task)
      const { wire, tree } = readClientReply(work.metadata, request)
      const ids = flattenTree(tree)
      const missing = await ctx.db.transaction(async (tx, afterCommit) => {
        await ctx.tasks.ensureOpen(tx, task.taskId)
        const earlier = work.reply?.tree.objectId
        if (earlier !== undefined && earlier !== tree.objectId) await ctx.objects.release(tx, afterCommit, [earlier])
        const absent = await ctx.objects.announce(tx, tree.objectId, ids)
        // Within the transaction: the end of the task, which may share its commit, lets go of these objects.
        work.reply = { wire, tree, missing: new Set(absent), runtimeSeconds: undefined, isFinal: false }
        return absent
      })
      return { messageIds: [tree.objectId], objectsToPush: missing, sessionId: task.taskId.toString() }
    },
    async pushObject(task, request) {
      const { reply } = workOf(task)
      const stored = (await ctx.objects.put(request.objectId, request.objectContent)) === 'stored'
      if (stored) reply?.missing.delete(request.objectId)
      return { stored }
    },
    getNodes: async () => notHere(),
    pushLogs: async () => {},
    pushTaskEvents: async () => {},
    saveCheckpoint: async () => notHere(),
    async pushTaskOutput(task, request) {
      const { subStatus, details } = request
      if (subStatus !== 'completed' && subStatus !== 'failed' && subStatus !== 'stopped')
        throw new DomainError('invalid-request', `Unknown sub status '${subStatus}'.`)
      const { context } = request
      const run = context && (await ctx.runs.get(task.runId as RunId))
      await ctx.db.transaction(async (tx, afterCommit) => {
        if (!(await ctx.tasks.finish(tx, afterCommit, task.taskId, subStatus, details))) return
        const reply = ctx.work.ofTask(task.taskId)?.reply
        if (reply) {
          reply.runtimeSeconds = request.clientappRuntime ?? secondsOf(task, ctx.clock.now())
          reply.isFinal = true
        }
        if (context && run) ctx.runs.keep(run, contextFromWire(context))
      })
    },
  }
}

/** Python's apps do not say how long they took. */
function secondsOf(task: Task, now: number): number | undefined {
  return task.runningAt === undefined ? undefined : (now - task.runningAt) / 1000
}
