import type { Context } from '../message/context.ts'
import type { Grid } from './grid.ts'
import { type Lifespan, withinLifespan } from './lifespan.ts'

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
  #lifespan: Lifespan | undefined

  constructor(options: { main?: ServerFn } = {}) {
    this.#main = options.main
  }

  /** Sets what the app does. Throws when that was set already. */
  main(fn: ServerFn): this {
    if (this.#main) throw new Error('This ServerApp has a main function already.')
    this.#main = fn
    return this
  }

  /**
   * Sets what runs before and after the app, e.g. to open and close a database. Throws if that was set already.
   *
   * @example
   * app.lifespan(async function* (context) {
   *   const database = await connect(context.runConfig.url)
   *   yield
   *   await database.close()
   * })
   */
  lifespan(fn: Lifespan): this {
    if (this.#lifespan) throw new Error('This ServerApp has a lifespan function already.')
    this.#lifespan = fn
    return this
  }

  /** @internal Runs the app to its end; what it throws fails the run. */
  async run(grid: Grid, context: Context): Promise<void> {
    if (!this.#main) throw new Error('This ServerApp has no main function: give one with new ServerApp().main(…).')
    const main = this.#main
    await withinLifespan(this.#lifespan, context, () => main(grid, context))
  }
}
