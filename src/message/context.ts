import type { UserConfig } from '../base/user-config.ts'
import { AppConfig } from './config-reader.ts'
import { RecordDict } from './records.ts'

/** What travels of a {@link Context}. */
export interface ContextFields {
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

/**
 * What an app knows about where it runs, and the state it keeps from one message to the next.
 *
 * @example
 * const rounds = context.config.integer('num-server-rounds')
 * const seen = context.state.has('seen') ? context.state.config('seen').getNumber('messages') : 0
 * context.state.set('seen', new ConfigRecord({ messages: seen + 1 }))
 */
export interface Context extends ContextFields {
  /** Reads `runConfig`, and as `config.node` the `nodeConfig`, with types and helpful errors. */
  readonly config: AppConfig
}

/**
 * Makes a context, for tests of an app without a grid. Ids default to 1, everything else to empty; `app` is the name in
 * error messages.
 *
 * @example
 * const reply = await clientApp.handle(message, createContext({ runConfig: { lr: 0.1 }, nodeConfig: { partition: 0n } }))
 */
export function createContext(fields: Partial<ContextFields> & { readonly app?: string } = {}): Context {
  const { app, runId = 1n, nodeId = 1n, seriesId = 1n, nodeConfig = {}, runConfig = {} } = fields
  const config = new AppConfig({ nodeConfig, runConfig }, app)
  return { runId, nodeId, seriesId, nodeConfig, runConfig, config, state: fields.state ?? new RecordDict() }
}
