import type { ControlClient } from '../connect.ts'
import type { FindAction } from './page-server.ts'

type ActingClient = Pick<ControlClient, 'stopRun' | 'startRun'>

/** The buttons of a run: stop it, or resume it from its last checkpoint. The SuperLink decides whether the caller may. */
export function runActions(client: ActingClient): FindAction {
  return (path) => {
    const [, id = '', name] = /^\/api\/runs\/(\d{1,20})\/(stop|resume)$/.exec(path) ?? []
    if (name === undefined) return undefined
    return () => (name === 'stop' ? stop(client, BigInt(id)) : resume(client, BigInt(id)))
  }
}

async function stop(client: ActingClient, runId: bigint): Promise<string> {
  const { success } = await client.stopRun({ runId })
  return success ? `Run ${runId} was stopped.` : `Run ${runId} could not be stopped: it may have ended.`
}

async function resume(client: ActingClient, resumeRunId: bigint): Promise<string> {
  const { runId } = await client.startRun({ resumeRunId })
  return runId === undefined
    ? 'This SuperLink cannot resume runs: it keeps no checkpoints.'
    : `Run ${runId} goes on from the last checkpoint of run ${resumeRunId}.`
}
