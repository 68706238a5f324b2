import { minus, scaled, sign, times } from '../arithmetic/elementwise.ts'
import type { Tensor } from '../arithmetic/tensor.ts'
import { FedOpt, type MomentOptions } from './fed-opt.ts'

/**
 * Adaptive federated optimization with Yogi (Reddi et al. 2020): the second moment moves towards the squared gradient by
 * a step that does not depend on their distance. Without a correction of the bias, as in Flower.
 *
 * @example
 * new FedYogi({ eta: 0.01, beta1: 0.9, beta2: 0.99 })
 */
export class FedYogi extends FedOpt {
  constructor(options: MomentOptions = {}) {
    const { eta = 0.01, etaL = 0.0316, beta1 = 0.9, beta2 = 0.99, tau = 0.001 } = options
    super(options, { eta, etaL, beta1, beta2, tau })
  }

  protected override nextSecondMoment(last: Tensor, squaredGradient: Tensor): Tensor {
    return minus(last, times(scaled(squaredGradient, 1 - this.beta2), sign(minus(last, squaredGradient))))
  }
}
