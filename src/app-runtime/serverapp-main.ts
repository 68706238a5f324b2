import { TaskEndedError, type TaskInput, type TaskOutcome } from '../app-api/task-api.ts'
import { findOversizeState } from '../app-api/task-messages.ts'
import { DomainError, errorText, UsageError } from '../base/errors.ts'
import { createContext } from '../message/context.ts'
import { RecordDict } from '../message/records.ts'
import { contextFromWire, contextToWire, userConfigFromWire } from '../message/wire.ts'
import { ServerApp } from '../sdk/server-app.ts'
import { appStack } from './app-stack.ts'
import { textWithPlace } from './error-place.ts'
import { AppLoadError, appFolders, installApp, loadComponent, runConfigOf } from './load-app.ts'
import { LogForwarder } from './log-forwarder.ts'
import { sdkUrl } from './sdk-url.ts'
import { TaskGrid } from './task-grid.ts'
import { appMain, type TaskContext } from './task-run.ts'

/** `flwr-serverapp`: runs one ServerApp to its end. What it writes is the log of the run. */
export const main = appMain('flwr-serverapp', async (task) => {
  const { api } = task
  const input = await api.pullInput()
  const log = new LogForwarder(api)
  let outcome: TaskOutcome
  try {
    outcome = await runServerApp(task, input)
  } finally {
    await log.close()
  }
  await api.finish(outcome)
})

async function runServerApp(task: TaskContext, input: TaskInput): Promise<TaskOutcome> {
  const { api, config } = task
  let context = contextFromWire(input.context, input.run.fabId)
  const grid = new TaskGrid(api, { runId: context.runId, taskId: input.taskId })
  try {
    const installed = await installApp(input.fab, config.home)
    const overrides = userConfigFromWire(input.run.overrideConfig)
    context = createContext({
      ...context,
      app: installed.manifest.fabId,
      runConfig: runConfigOf(installed.manifest, overrides),
    })
    const app = await loadComponent(installed, installed.manifest.components.serverapp, ServerApp, sdkUrl)
    await app.run(grid, context)
    await grid.flush()
    // As upstream: nothing of a ServerApp's state outlives a run that went well.
    return { context: contextToWire({ ...context, state: new RecordDict() }), subStatus: 'completed', details: '' }
  } catch (error) {
    if (error instanceof TaskEndedError || api.signal.aborted) throw error
    // A stack helps the author of the app; the faults that we found ourselves explain themselves.
    const known = [AppLoadError, DomainError, UsageError].some((kind) => error instanceof kind)
    const details = `ServerApp failed with exception: ${known ? errorText(error) : textWithPlace(error, appFolders)}`
    if (!known) process.stderr.write(`${appStack(error, appFolders)}\n`)
    task.log.error(details)
    const left = contextToWire(context)
    const kept = findOversizeState(left) === undefined ? { context: left } : {}
    return { ...kept, subStatus: 'failed', details: details.slice(0, detailsLengthMax) }
  }
}

const detailsLengthMax = 4000
