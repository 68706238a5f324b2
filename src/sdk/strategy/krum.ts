import { log } from '../log.ts'
import { type KrumOptions, MultiKrum } from './multi-krum.ts'

/**
 * Krum (Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", 2017): the next model
 * is the one that is nearest to its neighbours.
 *
 * @example
 * new Krum({ numMaliciousNodes: 1, minTrainNodes: 5 })
 */
export class Krum extends MultiKrum {
  constructor(options: KrumOptions = {}) {
    super({ ...options, numNodesToSelect: 1 })
  }

  override summary(): void {
    log.info('\t├──> Krum settings:')
    log.info(`\t│\t└── Number of malicious nodes: ${this.numMaliciousNodes}`)
    super.summary()
  }
}
