import { RecordDict } from '../../message/records.ts'

/** What a checkpoint stores of a strategy. */
export abstract class Training {
  /**
   * Values that the strategy keeps from round to round, beside the model. A checkpoint stores them.
   *
   * @example
   * this.state.set('momentum', momentum)
   */
  readonly state = new RecordDict()

  /** The strategy inside a wrapper: a checkpoint stores its state too. */
  get inner(): Training | undefined {
    return undefined
  }

  /** Returns why the training ends before this round, with the model so far; `undefined` if the round may begin. */
  endsBefore(round: number): string | undefined {
    return this.inner?.endsBefore(round)
  }

  /** Called before a checkpoint is saved, for strategies that fill `state` only then. */
  storeState(): void {}

  /** Called when `state` was read from a checkpoint, before the first round. */
  restoreState(): void {}
}
