import { inspect } from 'node:util'
import { DomainError, errorText, UsageError } from '../base/errors.ts'
import { RecordDict } from '../message/records.ts'
import { contextFromWire, contextToWire, userConfigFromWire } from '../message/wire.ts'
import { ServerApp } from '../sdk/server-app.ts'
import { AppLoadError, installApp, loadComponent, runConfigOf } from './load-app.ts'
import { LogForwarder } from './log-forwarder.ts'
import { isTaskEnded, runtime } from './runtime-client.ts'
import { RuntimeGrid } from './runtime-grid.ts'
import { sdkUrl } from './sdk-url.ts'
import { appMain, type TaskContext, type TaskInput } from './task-run.ts'

/** `flwr-serverapp`: runs one ServerApp to its end. What it writes is the log of the run. */
export const main = appMain('flwr-serverapp', async (task) => {
  const { client } = task
  const { message: input } = await client.call(runtime.pullTaskInput, {})
  if (!input.context || !input.run) throw new Error('The server sent no run.')
  const log = new LogForwarder(client, input.run.runId)
  let outcome: Outcome
  try {
    outcome = await runServerApp(task, input)
  } finally {
    await log.close()
  }
  await client.call(runtime.pushTaskOutput, outcome)
})

interface Outcome {
  readonly context: ReturnType<typeof contextToWire>
  readonly subStatus: 'completed' | 'failed'
  readonly details: string
}

async function runServerApp(task: TaskContext, input: TaskInput): Promise<Outcome> {
  const { client, config } = task
  let context = contextFromWire(input.context as NonNullable<TaskInput['context']>)
  const grid = new RuntimeGrid(client, { runId: context.runId, taskId: input.taskId })
  try {
    const installed = await installApp(input.fab, config.home)
    const overrides = userConfigFromWire(input.run?.overrideConfig ?? {})
    context = { ...context, runConfig: runConfigOf(installed.manifest, overrides) }
    const app = await loadComponent(installed, installed.manifest.components.serverapp, ServerApp, sdkUrl)
    await app.run(grid, context)
    await grid.flush()
    // As upstream: nothing of a ServerApp's state outlives a run that went well.
    return { context: contextToWire({ ...context, state: new RecordDict() }), subStatus: 'completed', details: '' }
  } catch (error) {
    if (isTaskEnded(error) || client.signal.aborted) throw error
    const details = `ServerApp failed with exception: ${errorText(error)}`
    // A stack helps the author of the app; the faults that we found ourselves explain themselves.
    const known = [AppLoadError, DomainError, UsageError].some((kind) => error instanceof kind)
    process.stderr.write(`${known ? '' : `${inspect(error)}\n`}`)
    task.log.error(details)
    return { context: contextToWire(context), subStatus: 'failed', details: details.slice(0, detailsLengthMax) }
  }
}

const detailsLengthMax = 4000
