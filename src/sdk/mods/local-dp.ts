import { pythonFixed } from '../../base/python-float.ts'
import { logarithm } from '../arithmetic/exact-functions.ts'
import type { Mod } from '../client-app.ts'
import { log } from '../log.ts'
import { clippedModel, withNoise } from '../privacy/clipping.ts'
import { type Gaussian, secureGaussian } from '../privacy/gaussian.ts'
import { checkedNumber } from '../strategy/option-checks.ts'
import { trainMod, withRecords } from './mod-reply.ts'

/** Options of {@link localDp}. */
export interface LocalDpOptions {
  /** The longest update, as a Euclidean norm over all arrays. */
  readonly clippingNorm: number | bigint
  /** How much the model can change if one example changes. */
  readonly sensitivity: number | bigint
  /** The budget: less protects better. */
  readonly epsilon: number | bigint
  /** The probability that the protection fails. */
  readonly delta: number | bigint
  /** @internal Where the noise comes from, by default a cryptographic generator; for tests. */
  readonly gaussian?: Gaussian
}

/**
 * Local differential privacy: shortens the update of a node to a norm, and adds noise, before it leaves the node.
 *
 * @example
 * new ClientApp({ mods: [localDp({ clippingNorm: 1, sensitivity: 1, epsilon: 2, delta: 1e-5 })] }).train(train)
 */
export function localDp(options: LocalDpOptions): Mod {
  const check = (name: 'clippingNorm' | 'sensitivity' | 'epsilon' | 'delta', bounds: object) =>
    checkedNumber('localDp', name, options[name], bounds)
  const norm = check('clippingNorm', { above: 0 })
  const sensitivity = check('sensitivity', { atLeast: 0 })
  const epsilon = check('epsilon', { above: 0 })
  const delta = check('delta', { above: 0, below: 1 })
  const deviation = (sensitivity * Math.sqrt(2 * logarithm(1.25 / delta))) / epsilon
  const gaussian = options.gaussian ?? secureGaussian()
  return trainMod('LocalDpMod', async (call) => {
    const { reply, arrays } = await call.train()
    if (!arrays) return reply
    const clipped = clippedModel(call.model, arrays, norm)
    log.info(`LocalDpMod: parameters are clipped by value: ${pythonFixed(norm, 4)}.`)
    const noisy = withNoise(clipped.arrays, deviation, gaussian)
    log.info(`LocalDpMod: local DP noise with ${pythonFixed(deviation, 4)} stddev added to parameters`)
    return withRecords(reply, new Map([[arrays, noisy]]))
  })
}
