import { UsageError } from '../../base/errors.ts'
import { FedAvg } from '../strategy/fed-avg.ts'
import { FedAvgM } from '../strategy/fed-avg-m.ts'
import { FedOpt } from '../strategy/fed-opt.ts'
import type { Strategy } from '../strategy/strategy.ts'

const meanOnly: ReadonlySet<unknown> = new Set(
  [FedAvg, FedAvgM, FedOpt].map(({ prototype }) => prototype.aggregateTrain),
)

/** Returns the strategy, or throws a UsageError if it needs more than the mean of the replies. */
export function needingOnlyMean(wrapper: string, strategy: Strategy): FedAvg {
  const { name } = strategy.constructor
  if (!(strategy instanceof FedAvg) || !meanOnly.has(strategy.aggregateTrain))
    throw new UsageError(
      `${name} looks at single replies, which secure aggregation hides: use FedAvg, FedAvgM, FedProx, FedAdagrad, FedAdam or FedYogi inside ${wrapper}. Differential privacy goes around it: new DifferentialPrivacyClientSideFixedClipping(new SecureAggregation(…), …).`,
    )
  if (strategy.hasTrainMetricsAggrFn)
    throw new UsageError(
      `trainMetricsAggrFn of ${name} receives the metrics of single nodes, which secure aggregation hides: remove it.`,
    )
  return strategy
}
