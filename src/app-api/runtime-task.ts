import { create, type MessageShape } from '@bufbuild/protobuf'
import { limits } from '../base/limits.ts'
import { ContextSchema } from '../gen/flwr/proto/message_pb.ts'
import { type PullTaskInputResponseSchema, Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import { encodeInTurns, lengthOf } from '../rpc/encode-in-turns.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { type PieceRules, pieceRulesOf, receiveCheckpoint, sendCheckpoint } from './checkpoint-pieces.ts'
import type { TaskApi, TaskInput } from './task-api.ts'
import { TaskCalls, type TaskCallsOptions } from './task-calls.ts'

const runtime = Runtime.method
/** How long a server may hold the question for another number of nodes. */
const nodesWaitMs = 25_000

/** A task over the Runtime API. The server knows task and run by the token. */
export function createRuntimeTask(options: TaskCallsOptions): TaskApi {
  let runId = 0n
  let objectsBytesMax = 0
  let pieces: PieceRules | undefined
  let logBatch = 0n
  let eventBatch = 0n
  const calls = new TaskCalls(options, { tokenHeader: 'flwr-task-token', endedBy: ['unauthenticated'] })
  const inputOf = (response: MessageShape<typeof PullTaskInputResponseSchema>): TaskInput | undefined => {
    const { context, run, fab, taskId, ...server } = response
    if (!context || !run) return undefined
    runId = run.runId
    objectsBytesMax = Math.min(server.objectsBytesMax, limits.carriedPerCallBytesMax)
    pieces = pieceRulesOf(server.checkpointPieces, fab?.content.length ?? 0)
    const { message: wire, messageObjectTree: tree, objects, wantsLogs } = server
    return { context, run, fab, taskId, wantsLogs, ...(wire && tree ? { message: { wire, tree, objects } } : {}) }
  }
  return {
    signal: calls.signal,
    get objectsBytesMax() {
      return objectsBytesMax
    },
    async pullInput(wishes = {}) {
      const response = await calls.call(runtime.pullTaskInput, { ...wishes, takesCheckpointPieces: true })
      const input = inputOf(response)
      if (!input) throw new Error('The server sent no run.')
      const checkpoint = response.checkpointPieces
      if (!checkpoint || checkpoint.size === 0n) return input
      return { ...input, context: { ...(await receiveCheckpoint(calls, checkpoint)), runId } }
    },
    async pullWholeInput(wishes) {
      const input = inputOf(await calls.call(runtime.pullTaskInput, { ...wishes, messageRequired: true }))
      if (!input) return undefined
      const { message } = input
      if (!message) throw new Error('The server sent the input of a task without its message.')
      return { ...input, message }
    },
    sendHeartbeat: (callOptions) => calls.call(runtime.sendTaskHeartbeat, {}, callOptions),
    // Servers read `messageIds` up to 1.42 and the other field since 1.43; each skips the field that it does not know.
    pullMessages(messageIds = [], { wantsAll = false, objectsBytesMax = 0, ...callOptions } = {}) {
      const filter = messageIds.length > 0 && !wantsAll ? { replyToMessageIds: { vals: messageIds } } : {}
      return calls.call(runtime.pullMessages, { messageIds, wantsAll, objectsBytesMax, ...filter }, callOptions)
    },
    pushMessages: (messages) => calls.call(runtime.pushMessages, messages),
    pushObject: (request) => calls.call(runtime.pushObject, request),
    pullObject: (request, callOptions) => calls.call(runtime.pullObject, request, callOptions),
    confirmMessageReceived: async (request) => void (await calls.call(runtime.confirmMessageReceived, request)),
    async getNodes({ knownNodes } = {}) {
      const question = knownNodes === undefined ? {} : { knownNodes }
      const callOptions = knownNodes === undefined ? {} : { waitMs: nodesWaitMs }
      return (await calls.call(runtime.getNodes, question, callOptions)).nodes
    },
    async pushLogs(logs) {
      logBatch += 1n
      await calls.call(runtime.pushLogs, { node: {}, runId, logs, batch: logBatch })
    },
    async pushEvents(events) {
      eventBatch += 1n
      await calls.call(runtime.pushTaskEvents, { events: [...events], batch: eventBatch })
    },
    async saveCheckpoint(context) {
      try {
        const message = create(ContextSchema, context)
        const encoded = pieces && (await encodeInTurns(ContextSchema, message))
        if (pieces && encoded && lengthOf(encoded) > pieces.wholeBytesMax) await sendCheckpoint(calls, pieces, encoded)
        else await calls.call(runtime.saveCheckpoint, { context: message })
        return true
      } catch (error) {
        if (error instanceof RpcError && ['unimplemented', 'not-found'].includes(error.status)) return false
        throw error
      }
    },
    async finish({ reply, ...outcome }) {
      const along = reply && { reply: reply.wire, replyObjectTree: reply.tree, objects: [...reply.objects] }
      await calls.call(runtime.pushTaskOutput, { ...outcome, ...along })
    },
  }
}
