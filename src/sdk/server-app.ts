import type { Context } from '../message/context.ts'
import type { Grid } from './grid.ts'

/** What a ServerApp does: it sends messages to nodes and puts their replies together. */
export type ServerFn = (grid: Grid, context: Context) => Promise<void> | void

/**
 * The side of an app that runs once, at the SuperLink, and steers the nodes through the grid.
 *
 * @example
 * export const app = new ServerApp().main(async (grid, context) => {
 *   const strategy = new FedAvg({ fractionTrain: 0.5 })
 *   await strategy.start(grid, initialModel(), { numRounds: context.config.integer('num-server-rounds') })
 * })
 */
export class ServerApp {
  #main: ServerFn | undefined

  constructor(options: { main?: ServerFn } = {}) {
    this.#main = options.main
  }

  /** Sets what the app does. Throws when that was set already. */
  main(fn: ServerFn): this {
    if (this.#main) throw new Error('This ServerApp has a main function already.')
    this.#main = fn
    return this
  }

  /** @internal Runs the app to its end; what it throws fails the run. */
  async run(grid: Grid, context: Context): Promise<void> {
    if (!this.#main) throw new Error('This ServerApp has no main function: give one with new ServerApp().main(…).')
    await this.#main(grid, context)
  }
}
