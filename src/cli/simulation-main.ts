import { UsageError } from '../base/errors.ts'
import type { Main } from '../base/program.ts'

/** `flower-simulation` and `flwr-simulation`: programs of Flower that ours need not have, and what to use in their place. */
export const main: Main = async () => {
  throw new UsageError(
    'Simulations have no program of their own: run the app with flwr run APP :local: --stream --federation-config "num-supernodes=10", or on a flower-superlink --simulation.',
  )
}
