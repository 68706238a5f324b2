import { UsageError } from '../../base/errors.ts'

/** Flower's code for a strategy whose preconditions are not met. */
const flowerCode = 200

/** The next release would exceed the budget. It ends the run before that release. */
export class PrivacyBudgetExhaustedError extends UsageError {
  override readonly name = 'PrivacyBudgetExhaustedError'

  constructor(message: string) {
    super(message, { flowerCode })
  }
}
