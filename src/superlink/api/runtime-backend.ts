import { lookAgain } from '../../base/bell.ts'
import { DomainError } from '../../base/errors.ts'
import { superlinkNodeId } from '../../base/ids.ts'
import type { IncomingFile } from '../../base/incoming-file.ts'
import { limits } from '../../base/limits.ts'
import { mapInTurns } from '../../base/turns.ts'
import { prepareValue } from '../../db/large-values.ts'
import { ContextSchema } from '../../gen/flwr/proto/message_pb.ts'
import { readCarried } from '../../objects/carried-objects.ts'
import type { ObjectTree } from '../../objects/object-tree.ts'
import { decodeInTurns } from '../../rpc/decode-in-turns.ts'
import { bytesInTurns } from '../../rpc/encode-in-turns.ts'
import { pulledObject, receivedObject } from '../../rpc/object-content.ts'
import { folderFor, putLeft } from '../../tasks/left-files.ts'
import type { RuntimeBackend } from '../../tasks/runtime-service.ts'
import { ensureSentToApp, isObjectOfRun } from '../access/ownership.ts'
import { getFab } from '../apps/fabs.ts'
import type { SuperlinkContext } from '../context.ts'
import { collectReplies } from '../delivery/collect-replies.ts'
import { confirmReceived } from '../delivery/confirm.ts'
import { pushInstructions } from '../delivery/instructions.ts'
import { takeRepliesApart } from '../delivery/joined-messages.ts'
import * as messageStore from '../delivery/message-store.ts'
import { packMessages, passingOf } from '../delivery/whole-messages.ts'
import type { Node } from '../nodes/node.ts'
import { findPiece } from '../runs/checkpoint-pieces.ts'
import { findStart, saveCheckpoint } from '../runs/checkpoints.ts'
import { appendEvents } from '../runs/events.ts'
import { appendLog } from '../runs/logs.ts'
import { ensureRunOpen, findRun, runToWire } from '../runs/run.ts'
import * as runStore from '../runs/run-store.ts'
import { findComponent } from '../runs/start.ts'
import { nodeToWire } from './node-wire.ts'

/** What ServerApps ask of a SuperLink. */
export function createSuperlinkBackend(ctx: SuperlinkContext): RuntimeBackend {
  return {
    component: (task) => findComponent(ctx, task.fabHash),
    async taskInput(task, makeRoom, wishes) {
      const run = await findRun(ctx.db.read, task.runId)
      const takesPieces = wishes?.takesCheckpointPieces ?? false
      const { context, checkpointPieces } = run ? await findStart(ctx, run, { takesPieces, makeRoom }) : {}
      if (!run || !context) throw new DomainError('task-state', `Failed to start run ${task.runId}`)
      return {
        context: { ...(await decodeInTurns(ContextSchema, context)), runId: run.runId },
        run: runToWire(run),
        fab: { hashStr: run.fabHash, content: await getFab(ctx.db.read, run.fabHash, makeRoom) },
        objectsBytesMax: limits.carriedPerCallBytesMax,
        checkpointPieces,
      }
    },
    async findRun(runId) {
      const run = await findRun(ctx.db.read, runId)
      return run && runToWire(run)
    },
    maySend: ({ runId }, objectId) => isObjectOfRun(ctx.db.read, runId, objectId),
    mayRead: async ({ runId }, objectId) =>
      ctx.passingReplies.find(runId, objectId) !== undefined ||
      (await isObjectOfRun(ctx.db.read, runId, objectId)) ||
      // A ServerApp that received a reply with its objects may ask for one of them all the same.
      ((await takeRepliesApart(ctx, runId)) && (await isObjectOfRun(ctx.db.read, runId, objectId))),
    ensureReceiver: ({ runId }, messageIds) => ensureSentToApp(ctx.db.read, runId, messageIds),
    async pushMessages(task, request) {
      if (request.messagesList.length !== request.messageObjectTrees.length)
        throw new DomainError('message-count-invalid', 'PushMessages needs one object tree for each message.')
      if (request.messagesList.length === 0) return {}
      const messages = await mapInTurns(request.messagesList, (message, index) =>
        messageStore.fromWire(message, request.messageObjectTrees[index] as ObjectTree),
      )
      const carried = await readCarried(request.objects, request.messageObjectTrees, limits.carriedPerCallBytesMax)
      using _names = await ctx.quotas.takeMessages(task.runId, request.messageObjectTrees as ObjectTree[])
      using _room = await ctx.quotas.takeCarried(task, carried)
      const pushed = await endsWithRun(() => pushInstructions(ctx, task.runId, messages, carried))
      const { objectsToPush = [] } = pushed
      const objectFolder = await folderFor(ctx.objects, task, { objectsToPush, leavesFiles: request.leavesFiles })
      return { ...pushed, sessionId: task.taskId.toString(), objectFolder }
    },
    async pullMessages(task, replyTo, wait) {
      const replies = await endsWithRun(() => collectReplies(ctx, task.runId, replyTo, wait))
      const { messages, objects } = await packMessages(ctx, replies, {
        bytesMax: wait.objectsBytesMax ?? 0,
        makeRoom: wait.makeRoom,
        passing: passingOf(ctx.passingReplies, task.runId),
      })
      return {
        messagesList: await mapInTurns(messages, messageStore.toWire),
        messageObjectTrees: messages.map(({ tree }) => tree),
        objects: [...objects],
      }
    },
    async pushObject(task, request) {
      ensureOwnNodeId(request.node?.nodeId)
      const { objectId, inFile } = request
      const put = async (content: Uint8Array | IncomingFile) => {
        using _room = await ctx.quotas.takeBytes({ runId: task.runId, objectId }, content.length)
        return await ctx.objects.put(objectId, content)
      }
      if (inFile) return putLeft(ctx.objects, task, objectId, put)
      return { stored: (await put(receivedObject(request))) === 'stored' }
    },
    // A message names its objects until they are here and its node has them: nothing waits for one without a name.
    mayHavePushed: ({ taskId }, { sessionId }) => sessionId === taskId.toString(),
    async pullObject({ runId }, request, wait) {
      ensureOwnNodeId(request.node?.nodeId)
      const passing = ctx.passingReplies.find(runId, request.objectId)
      if (passing) return { objectFound: true, objectAvailable: true, objectContent: passing }
      return pulledObject(await ctx.objects.open(request.objectId, wait), request)
    },
    confirmMessageReceived: ({ runId }, { messageObjectId, moreMessageObjectIds }) =>
      confirmReceived(ctx, runId, [messageObjectId, ...moreMessageObjectIds]),
    async getNodes({ runId }, wait) {
      ctx.progress.waits.askedForNodes(runId, ctx.clock.now(), wait !== undefined && wait.waitMs > 0)
      const list = () => ctx.runNodes.listReachable(runId)
      const look = async () => {
        await endsWithRun(() => ensureRunOpen(ctx.db.read, runId))
        const nodes = await list()
        return nodes.length === wait?.knownNodes ? undefined : nodes
      }
      const nodes = (await lookAgain(ctx.bells.nodes, runId, look, wait ?? { waitMs: 0 })) ?? (await list())
      const toWire = (node: Node) => nodeToWire(node, { lastSeenAt: ctx.knownNodes.lastSeenAt(node) })
      return { nodes: await mapInTurns(nodes, toWire) }
    },
    pushLogs: (task, { logs, batch }) =>
      endsWithRun(() => appendLog(ctx, task.runId, logs, { taskId: task.taskId, batch })),
    pushTaskEvents: (task, request) => endsWithRun(() => appendEvents(ctx, task, request.events, request.batch)),
    async saveCheckpoint(task, { context, piece }) {
      if (piece) return { received: BigInt(await ctx.checkpointUploads.take(ctx, task, piece)) }
      if (!context) throw new DomainError('invalid-request', 'SaveCheckpoint needs a context.')
      await saveCheckpoint(ctx, task, context)
      return {}
    },
    pullCheckpoint: async (task, piece, makeRoom) => ({ content: await findPiece(ctx, task, piece, makeRoom) }),
    async pushTaskOutput(task, request) {
      const { subStatus, details } = request
      if (subStatus !== 'completed' && subStatus !== 'failed' && subStatus !== 'stopped') {
        throw new DomainError('invalid-request', `Unknown sub status '${subStatus}'.`)
      }
      await ctx.traffic.flush()
      const encoded = request.context && (await bytesInTurns(ContextSchema, request.context))
      await using context = encoded && (await prepareValue(ctx.db, encoded))
      await ctx.db.transaction(async (tx, afterCommit) => {
        const { outcomes } = ctx.progress
        const failure = subStatus === 'completed' ? outcomes.findLoadFailure(task.runId) : undefined
        const fruitless = subStatus === 'stopped' ? undefined : outcomes.findFruitless(task.runId)
        if (request.processLost) return void (await ctx.tasks.lose(tx, afterCommit, task.taskId, details))
        const finished = await (failure === undefined
          ? ctx.tasks.finish(tx, afterCommit, task.taskId, subStatus, withFruitless(details, fruitless))
          : ctx.tasks.finish(tx, afterCommit, task.taskId, 'failed', `${noNodeLoaded} ${failure}`))
        const run = await findRun(tx, task.runId)
        if (!finished || !context || !run) return
        await runStore.upsertSeries(tx, {
          series_id: run.seriesId,
          federation: run.federation,
          context,
        })
      })
    },
  }
}

/** An app that fails because no node sent a model often fails with an unrelated error: the reason of the node follows it. */
function withFruitless(details: string, fruitless: string | undefined): string {
  if (details === '' || fruitless === undefined) return fruitless ?? details
  return `${details} (${fruitless})`
}

/** Flower calls such a run completed, although nothing was trained. */
const noNodeLoaded = 'No SuperNode could load the app. The first one said:'

/** The token of a task ends with its run: a call that the end overtakes is refused as the next one will be. */
async function endsWithRun<T>(store: () => Promise<T>): Promise<T> {
  try {
    return await store()
  } catch (error) {
    if (error instanceof DomainError && error.code === 'run-not-running')
      throw new DomainError('token-invalid', error.message, { cause: error })
    throw error
  }
}

function ensureOwnNodeId(nodeId: bigint | undefined): void {
  if (nodeId !== superlinkNodeId) throw new DomainError('not-of-this-task', 'Unexpected node ID.')
}
