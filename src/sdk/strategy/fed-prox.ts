import { pythonFloat } from '../../base/python-float.ts'
import type { Message } from '../../message/message.ts'
import type { ArrayRecord, ConfigRecord } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { FedAvg, type FedAvgOptions } from './fed-avg.ts'
import { checkedNumber } from './option-checks.ts'

/** Options of {@link FedProx}. */
export interface FedProxOptions extends FedAvgOptions {
  /** Weight of the proximal term, by default 0: the same as {@link FedAvg}. */
  readonly proximalMu?: number | bigint
}

/**
 * FedProx (Li et al., "Federated Optimization in Heterogeneous Networks", 2018): the server averages as {@link FedAvg},
 * and sends `proximal-mu` in the configuration. The ClientApp must add mu / 2 times the squared distance from the
 * received model to its loss.
 *
 * @example
 * const mu = message.content.config('config').getNumber('proximal-mu')
 * gradient[i] += mu * (weights[i] - received[i])
 */
export class FedProx extends FedAvg {
  readonly proximalMu: number

  constructor(options: FedProxOptions = {}) {
    super(options)
    this.proximalMu = checkedNumber('FedProx', 'proximalMu', options.proximalMu ?? 0)
    if (this.proximalMu === 0)
      log.warn('FedProx initialized with `proximal_mu=0.0`. This makes the strategy equivalent to FedAvg.')
  }

  override summary(): void {
    log.info('\t├──> FedProx settings:')
    log.info(`\t│\t└── Proximal mu: ${pythonFloat(this.proximalMu)}`)
    super.summary()
  }

  override configureTrain(round: number, arrays: ArrayRecord, config: ConfigRecord, grid: Grid): Promise<Message[]> {
    // Before `server-round`, as in Flower: the order is part of the record's id.
    return super.configureTrain(round, arrays, config.copy().set('proximal-mu', float(this.proximalMu)), grid)
  }
}
