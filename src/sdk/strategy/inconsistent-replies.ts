import { UsageError } from '../../base/errors.ts'

/** Flower's code for a strategy whose preconditions are not met. */
const flowerCode = 200

/** Replies that cannot be put together. It fails the run: the two sides of the app do not fit. */
export class InconsistentRepliesError extends UsageError {
  override readonly name = 'InconsistentRepliesError'

  constructor(message: string) {
    super(message, { flowerCode })
  }
}
