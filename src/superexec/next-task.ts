import type { AppProgram } from '../app-api/task-api.ts'
import { type Acquired, noTask, type TaskSource } from '../app-api/task-source.ts'

export interface Question {
  /** The programs of which this SuperExec may start another process. */
  readonly programs: readonly AppProgram[]
  /** The last call has failed: this one is not held, so that its response shows at once that the server is back. */
  readonly isRetry: boolean
  readonly signal: AbortSignal
}

/** Asks for a task. While there is room for one program only, the call is not held, because room for the other may come soon. */
export async function askForTask(
  source: Pick<TaskSource, 'acquire'>,
  { programs, isRetry, signal }: Question,
): Promise<Acquired> {
  if (programs.length === 0) return noTask
  const hasRoom = programs.length > 1
  const acquired = await source.acquire(signal, { hold: !isRetry && hasRoom, programs })
  // Servers that can hold calls set `waited` also for a call of no wait: without a pause the next would follow at once, in a hot loop.
  return { ...acquired, waited: acquired.waited && hasRoom }
}
