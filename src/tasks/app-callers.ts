import { DomainError } from '../base/errors.ts'
import type { CallHead } from '../rpc/call.ts'
import { type CallerKinds, callerKind } from '../rpc/service.ts'
import type { RuntimeServiceOptions } from './runtime-service.ts'
import type { Task, TaskType } from './task.ts'

/** The callers of the Runtime, ServerAppIo and ClientAppIo services: a SuperExec, or the app process of one task. */
export interface AppCallers {
  readonly superexec: undefined
  readonly task: Task
}

export interface AppCallersOptions {
  /** The header that holds the token of a task. */
  readonly tokenHeader: string
  /** Throws for programs of a release that is not served. */
  readonly checkRelease: (head: CallHead) => void
  /** The only type of task that is served; all types unless given. */
  readonly type?: TaskType
}

/**
 * Identifies an app by the token of its task, and a SuperExec by what `checkSuperexec` demands. The run tokens of
 * Flower 1.29 are tokens of tasks here: its programs never compare them.
 */
export function appCallers(
  { tasks, checkSuperexec }: Pick<RuntimeServiceOptions, 'tasks' | 'checkSuperexec'>,
  { tokenHeader, checkRelease, type }: AppCallersOptions,
): CallerKinds<AppCallers> {
  return {
    superexec: callerKind(
      async (head) => checkRelease(head),
      async (call) => {
        await checkSuperexec(call)
        return undefined
      },
    ),
    task: callerKind(async (head) => {
      checkRelease(head)
      const tokens = head.header(tokenHeader)
      const task = tokens.length === 1 && tokens[0] ? await tasks.findByToken(tokens[0]) : undefined
      if (!task || (type !== undefined && task.type !== type)) throw new DomainError('token-invalid')
      return task
    }),
  }
}
