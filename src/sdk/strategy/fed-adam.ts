import { plus, scaled, scaledAsDouble } from '../arithmetic/elementwise.ts'
import { power } from '../arithmetic/exact-functions.ts'
import type { Tensor } from '../arithmetic/tensor.ts'
import { FedOpt, type MomentOptions } from './fed-opt.ts'

/**
 * Adaptive federated optimization with Adam (Reddi et al. 2020): moments that decay, with the correction of their bias
 * (Kingma and Ba 2014) for round + 1, as in Flower. The model becomes float64, as in Flower.
 *
 * @example
 * new FedAdam({ eta: 0.01, minAvailableNodes: 10 })
 */
export class FedAdam extends FedOpt {
  constructor(options: MomentOptions = {}) {
    const { eta = 0.1, etaL = 0.1, beta1 = 0.9, beta2 = 0.99, tau = 0.001 } = options
    super(options, { eta, etaL, beta1, beta2, tau })
  }

  protected override nextSecondMoment(last: Tensor, squaredGradient: Tensor): Tensor {
    return plus(scaled(last, this.beta2), scaled(squaredGradient, 1 - this.beta2))
  }

  protected override step(firstMoment: Tensor, round: number): Tensor {
    const corrected = (this.eta * Math.sqrt(1 - power(this.beta2, round + 1))) / (1 - power(this.beta1, round + 1))
    return scaledAsDouble(firstMoment, corrected)
  }
}
