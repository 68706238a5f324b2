import { plus } from '../arithmetic/elementwise.ts'
import type { Tensor } from '../arithmetic/tensor.ts'
import { FedOpt, type FedOptOptions } from './fed-opt.ts'

/**
 * Adaptive federated optimization with Adagrad (Reddi et al. 2020): the squares of all gradients add up, so steps get
 * smaller where the model has moved most.
 *
 * @example
 * new FedAdagrad({ eta: 0.1, tau: 1e-3 })
 */
export class FedAdagrad extends FedOpt {
  constructor(options: FedOptOptions = {}) {
    const { eta = 0.1, etaL = 0.1, tau = 0.001 } = options
    super(options, { eta, etaL, beta1: 0, beta2: 0, tau })
  }

  protected override nextSecondMoment(last: Tensor, squaredGradient: Tensor): Tensor {
    return plus(last, squaredGradient)
  }
}
