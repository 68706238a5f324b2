import { pythonFixed, pythonFloat } from '../../base/python-float.ts'
import type { Message } from '../../message/message.ts'
import type { ArrayRecord, ConfigRecord } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import type { Aggregate, Strategy, TrainPhase } from '../strategy/strategy.ts'
import { clippedModel } from './clipping.ts'
import { clippingNormKey, type DpOptions, DpWrapper, ensureSeesReplies, withArrays } from './dp-wrapper.ts'

/** Options of both wrappers with fixed clipping. */
export interface DpFixedClippingOptions extends DpOptions {
  /** The longest update of a node, as a Euclidean norm over all arrays. */
  readonly clippingNorm: number | bigint
}

abstract class DpFixedClipping extends DpWrapper {
  readonly noiseMultiplier: number
  readonly clippingNorm: number

  constructor(strategy: Strategy, options: DpFixedClippingOptions) {
    super(strategy, options)
    this.noiseMultiplier = this.check('noiseMultiplier', options.noiseMultiplier, { atLeast: 0 })
    this.clippingNorm = this.check('clippingNorm', options.clippingNorm, { above: 0 })
    this.account(options, this.noiseMultiplier)
  }

  protected get noiseNorm(): number {
    return this.clippingNorm
  }

  override summary(): void {
    log.info('\t├──> DP settings:')
    log.info(`\t│\t├── Noise multiplier: ${pythonFloat(this.noiseMultiplier)}`)
    log.info(`\t│\t└── Clipping norm: ${pythonFloat(this.clippingNorm)}`)
    super.summary()
  }
}

/**
 * Central differential privacy (Geyer et al., "Differentially Private Federated Learning: A Client Level Perspective",
 * 2017; McMahan et al., "Learning Differentially Private Recurrent Language Models", 2018): the server shortens the
 * update of each node to a norm, lets the strategy inside aggregate, and adds noise.
 *
 * @example
 * new DifferentialPrivacyServerSideFixedClipping(new FedAvg({ minTrainNodes: 50 }), {
 *   noiseMultiplier: 1,
 *   clippingNorm: 0.5,
 *   numSampledClients: 50,
 * })
 */
export class DifferentialPrivacyServerSideFixedClipping extends DpFixedClipping {
  constructor(strategy: Strategy, options: DpFixedClippingOptions) {
    super(strategy, options)
    ensureSeesReplies(this.constructor.name, strategy)
  }

  protected override aggregateClipped(phase: TrainPhase): Promise<Aggregate> {
    const { replies, current } = phase
    for (let count = 0; count < replies.size; count++)
      log.info(`aggregate_fit: parameters are clipped by value: ${pythonFixed(this.clippingNorm, 4)}.`)
    const clip = (arrays: ArrayRecord): ArrayRecord => clippedModel(current, arrays, this.clippingNorm).arrays
    return this.strategy.aggregateTrain({ ...phase, replies: replies.map((reply) => withArrays(reply, clip)) })
  }
}

/**
 * As {@link DifferentialPrivacyServerSideFixedClipping}, but the nodes shorten their updates themselves: the norm is sent
 * to them as `clipping_norm`, and the ClientApp needs the mod {@link fixedClipping}.
 */
export class DifferentialPrivacyClientSideFixedClipping extends DpFixedClipping {
  override configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Iterable<Message>> {
    return super.configureTrain(round, arrays, config.copy().set(clippingNormKey, float(this.clippingNorm)), grid)
  }

  protected override aggregateClipped(phase: TrainPhase): Promise<Aggregate> {
    return this.strategy.aggregateTrain(phase)
  }
}
