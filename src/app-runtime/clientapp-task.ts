import type { TaskRoute } from '../app-api/fetch-objects.ts'
import { writeLastWords } from '../app-api/last-words.ts'
import { type TaskApi, TaskEndedError, type TaskInput, type WholeMessage } from '../app-api/task-api.ts'
import { fetchMessage, findOversize, findOversizeState, sendOutput, sendReply } from '../app-api/task-messages.ts'
import { errorText } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { type DeflatedMessage, deflateMessage } from '../message/deflate.ts'
import { errorCodes, Message } from '../message/message.ts'
import { RecordDict } from '../message/records.ts'
import { contextFromWire, contextToWire, metadataFromWire } from '../message/wire.ts'
import { byHash } from '../objects/carried-objects.ts'
import type { ClientApp } from '../sdk/client-app.ts'
import { appStack } from './app-stack.ts'
import { errorWithPlace } from './error-place.ts'
import { AppLoadError, appFolders } from './load-app.ts'
import type { LoadClientApp } from './loaded-apps.ts'
import { LogForwarder } from './log-forwarder.ts'
import { ensureGoesOn, type TaskContext } from './task-run.ts'

type WireContext = TaskInput['context']

/**
 * Runs one task of a ClientApp: takes its message, replies, and hands over what the app keeps. Whatever fails, the app or
 * the runtime, an error reply with the reason is sent at once, and the state stays as it was. A reply is sent only if its
 * state can be kept: else a success would hide a loss.
 */
export async function runClientApp(task: TaskContext, load: LoadClientApp): Promise<void> {
  const { api } = task
  const fabHash = load.loadedHash?.()
  const input = await api.pullInput({ objectsBytesMax: limits.carriedBytesMax, ...(fabHash ? { fabHash } : {}) })
  const { nodeId, runId } = input.context
  const route = { api, nodeId, runId }
  // The app loads while its message arrives, unless its death would be reported in its own words.
  const early = task.leaveLastWords ? undefined : load(task, input)
  early?.catch(() => {})
  const { wire, tree, objects } = input.message ?? (await pullMessage(api))
  const instruction = new Message(metadataFromWire(wire.metadata), { content: new RecordDict() })
  await task.leaveLastWords?.(lastWordsFor(instruction, input))
  try {
    const message = await fetchMessage(route, tree, objects && { atHand: byHash(objects), confirm: async () => {} })
    const context = contextFromWire(input.context, input.run.fabId)
    const startedAt = performance.now()
    const reply = await loggedIf(input.wantsLogs, api, () =>
      answer(early ?? load(task, input), message, (app) => app.handle(message, context)),
    )
    const clientappRuntime = (performance.now() - startedAt) / 1000
    await report(task, route, { reply, message, context: contextToWire(context), clientappRuntime, input })
  } catch (error) {
    if (error instanceof TaskEndedError || api.signal.aborted) throw error
    await ensureGoesOn(api, error)
    await reportFailure(task, route, { instruction, input, error })
  }
}

/** The message of the task, without its objects. */
async function pullMessage(api: TaskApi): Promise<Pick<WholeMessage, 'wire' | 'tree'> & { objects?: undefined }> {
  const { messagesList, messageObjectTrees } = await api.pullMessages(undefined)
  const [wire] = messagesList
  const [tree] = messageObjectTrees
  if (!wire || !tree) throw new Error('The server has no message for this task.')
  return { wire, tree }
}

/** Sends what the app prints to the log of the run, if that is wanted. */
async function loggedIf<T>(wantsLogs: boolean | undefined, api: TaskApi, work: () => Promise<T>): Promise<T> {
  if (!wantsLogs) return work()
  const logs = new LogForwarder(api)
  try {
    return await work()
  } finally {
    await logs.close()
  }
}

/** Sends the reply and hands over the context. */
async function report(
  { log }: TaskContext,
  route: TaskRoute,
  work: { reply: Message; message: Message; context: WireContext; clientappRuntime: number; input: TaskInput },
): Promise<void> {
  const { message, clientappRuntime, input } = work
  const tooLarge = findOversizeState(work.context)
  const reply = tooLarge
    ? message.replyError({ code: errorCodes.clientAppRaisedException, reason: tooLarge })
    : work.reply
  if (reply.error) log.error(`The ClientApp failed: ${reply.error.reason}`)
  await sendOutput(route, deflateReply(reply, message), {
    context: tooLarge ? input.context : work.context,
    subStatus: reply.error ? 'failed' : 'completed',
    details: reply.error?.reason ?? '',
    clientappRuntime,
  })
}

/** The runtime has failed, not the app: the message could not be fetched, or the reply or the context was refused. */
async function reportFailure(
  { api, log }: TaskContext,
  route: TaskRoute,
  { instruction, input, error }: { instruction: Message; input: TaskInput; error: unknown },
): Promise<void> {
  const reason = `The ClientApp could not be run to its end: ${reasonOf(error)}`
  log.error(reason)
  // A server that refuses this as well is told by the end of this task: see `task-run.ts`.
  await sendReply(route, deflateMessage(instruction.replyError({ code: errorCodes.unknown, reason })))
  await api.finish({ context: input.context, subStatus: 'failed', details: reason })
}

function lastWordsFor(instruction: Message, { context }: TaskInput) {
  const reason = 'ClientApp stopped responding.'
  return writeLastWords(deflateMessage(instruction.replyError({ code: errorCodes.clientAppCrashed, reason })), context)
}

/** Returns an error reply if the app throws or cannot be loaded. */
async function answer(
  loading: Promise<ClientApp>,
  instruction: Message,
  handle: (app: ClientApp) => Promise<Message>,
): Promise<Message> {
  let app: ClientApp
  try {
    app = await loading
  } catch (error) {
    return instruction.replyError({ code: errorCodes.loadClientAppException, reason: reasonOf(error) })
  }
  try {
    return await handle(app)
  } catch (error) {
    writeStackOnce(instruction.metadata.runId, error)
    return instruction.replyError({ code: errorCodes.clientAppRaisedException, reason: reasonOf(error) })
  }
}

/** The error reply names error and place each time; its stack is written once a run, because warm processes repeat it. */
function writeStackOnce(runId: bigint, error: unknown): void {
  const stack = appStack(error, appFolders)
  const key = `${runId} ${stack}`
  if (writtenStacks.has(key)) return
  if (writtenStacks.size >= writtenStacksMax) writtenStacks.clear()
  writtenStacks.add(key)
  process.stderr.write(`${stack}\n`)
}

const writtenStacks = new Set<string>()
const writtenStacksMax = 100

/** A reply that is too large, or no reply at all, becomes an error that says so. */
function deflateReply(reply: Message, instruction: Message): DeflatedMessage {
  const refuse = (reason: string) =>
    deflateMessage(instruction.replyError({ code: errorCodes.clientAppRaisedException, reason }))
  if (reply.metadata.replyToMessageId !== instruction.metadata.messageId)
    return refuse('The ClientApp did not return a reply to its message: return message.reply(…).')
  let deflated: DeflatedMessage
  try {
    deflated = deflateMessage(reply)
  } catch (error) {
    return refuse(`The reply cannot be sent: ${reasonOf(error)}`)
  }
  const oversize = findOversize(deflated)
  return oversize ? refuse(`The reply is too large: ${oversize}.`) : deflated
}

function reasonOf(error: unknown): string {
  const text = error instanceof AppLoadError ? errorText(error) : errorWithPlace(error, appFolders)
  return text.slice(0, reasonLengthMax)
}

const reasonLengthMax = 4000
