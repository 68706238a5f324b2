import type { UserConfig } from '../base/user-config.ts'
import type { RecordDict } from './records.ts'

/**
 * What an app knows about where it runs, and the state it keeps from one message to the next.
 *
 * @example
 * const rounds = Number(context.runConfig['num-server-rounds'])
 * const seen = context.state.has('seen') ? context.state.config('seen').getNumber('messages') : 0
 * context.state.set('seen', new ConfigRecord({ messages: seen + 1 }))
 */
export interface Context {
  readonly runId: bigint
  /** 1 for a ServerApp. */
  readonly nodeId: bigint
  readonly seriesId: bigint
  /** `--node-config` of the SuperNode. */
  readonly nodeConfig: UserConfig
  /** `[tool.flwr.app.config]` of the app with the overrides of `flwr run`. */
  readonly runConfig: UserConfig
  /** Kept by the SuperNode from message to message of a run; write to it freely. */
  state: RecordDict
}
