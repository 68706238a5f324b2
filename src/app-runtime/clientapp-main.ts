import { inspect } from 'node:util'
import { writeLastWords } from '../app-api/last-words.ts'
import type { TaskInput } from '../app-api/task-api.ts'
import { errorText } from '../base/errors.ts'
import { deflateMessage } from '../message/deflate.ts'
import { errorCodes, type Message } from '../message/message.ts'
import { contextFromWire, contextToWire } from '../message/wire.ts'
import { ClientApp } from '../sdk/client-app.ts'
import { AppLoadError, installApp, loadComponent } from './load-app.ts'
import { sdkUrl } from './sdk-url.ts'
import { fetchMessage, findOversize, sendMessages } from './task-messages.ts'
import { appMain, type TaskContext } from './task-run.ts'

/** Apps of this process by the hash of their FAB: warm processes load an app once. */
const loaded = new Map<string, Promise<ClientApp>>()

/** `flwr-clientapp`: answers one message a task. Whatever the app does, a reply goes back. */
export const main = appMain('flwr-clientapp', async (task) => {
  const { api } = task
  const input = await api.pullInput()
  const context = contextFromWire(input.context)
  const { nodeId, runId } = context
  const route = { api, nodeId, runId }
  const app = loadOnce(task, input)
  app.catch(() => {})
  const { messageObjectTrees } = await api.pullMessages(undefined)
  const [tree] = messageObjectTrees
  if (!tree) throw new Error('The server has no message for this task.')
  const instruction = await fetchMessage(route, tree)
  task.leaveLastWords?.(
    writeLastWords(
      deflateMessage(
        instruction.replyError({ code: errorCodes.clientAppCrashed, reason: 'ClientApp stopped responding.' }),
      ),
      input.context,
    ),
  )

  const startedAt = performance.now()
  const reply = await answer(app, instruction, (loadedApp) => loadedApp.handle(instruction, context))
  const clientappRuntime = (performance.now() - startedAt) / 1000
  if (reply.error) task.log.error(`The ClientApp failed: ${reply.error.reason}`)
  await sendMessages(route, [deflateReply(reply, instruction)])
  await api.finish({
    context: contextToWire(context),
    subStatus: reply.error ? 'failed' : 'completed',
    details: reply.error?.reason ?? '',
    clientappRuntime,
  })
})

function loadOnce({ config }: TaskContext, { fab }: TaskInput): Promise<ClientApp> {
  const key = fab?.hashStr ?? ''
  const known = loaded.get(key)
  if (known) return known
  const loading = installApp(fab, config.home).then((installed) =>
    loadComponent(installed, installed.manifest.components.clientapp, ClientApp, sdkUrl),
  )
  loaded.set(key, loading)
  return loading
}

/** An app that throws answers with an error, and so does one that cannot be loaded. */
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
    process.stderr.write(`${inspect(error)}\n`)
    return instruction.replyError({ code: errorCodes.clientAppRaisedException, reason: reasonOf(error) })
  }
}

/** A reply that is too large, or no reply at all, becomes an error that says so. */
function deflateReply(reply: Message, instruction: Message): ReturnType<typeof deflateMessage> {
  const refuse = (reason: string) =>
    deflateMessage(instruction.replyError({ code: errorCodes.clientAppRaisedException, reason }))
  if (reply.metadata.replyToMessageId !== instruction.metadata.messageId)
    return refuse('The ClientApp did not return a reply to its message: return message.reply(…).')
  let deflated: ReturnType<typeof deflateMessage>
  try {
    deflated = deflateMessage(reply)
  } catch (error) {
    return refuse(`The reply cannot be sent: ${reasonOf(error)}`)
  }
  const oversize = findOversize(deflated)
  return oversize ? refuse(`The reply is too large: ${oversize}.`) : deflated
}

function reasonOf(error: unknown): string {
  const name = error instanceof AppLoadError ? '' : error instanceof Error ? `${error.name}: ` : ''
  return `${name}${errorText(error)}`.slice(0, reasonLengthMax)
}

const reasonLengthMax = 4000
