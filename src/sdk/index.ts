/** What authors of apps import as `trellis-fl`. */

export type { Logger } from '../base/log.ts'
export type { UserConfig, UserConfigValue } from '../base/user-config.ts'
export type { AppConfig, ConfigReader } from '../message/config-reader.ts'
export { type Context, type ContextFields, createContext } from '../message/context.ts'
export { fromBfloat16, toBfloat16 } from '../message/convert.ts'
export type { DType, NumericArray, ValuesByType } from '../message/dtype.ts'
export {
  defaultTtl,
  errorCodes,
  Message,
  type MessageError,
  type Metadata,
  type NewMessage,
} from '../message/message.ts'
export { NdArray, NdArray as Array } from '../message/nd-array.ts'
export type { ArrayNames, Outline } from '../message/outline.ts'
export { type AnyRecord, ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../message/records.ts'
export {
  type ConfigInput,
  type ConfigValue,
  Float,
  float,
  type MetricInput,
  type MetricValue,
} from '../message/value.ts'
export { ClientApp, type ClientFn, type Mod } from './client-app.ts'
export { CompressedUpdates } from './compression/compressed-updates.ts'
export type { Duration } from './duration.ts'
export { decodeNpz, encodeNpz } from './files/npz.ts'
export { decodeSafetensors, encodeSafetensors, type Safetensors } from './files/safetensors.ts'
export type { Grid, LateReply, NodeInfo, Progress, WaitOptions } from './grid.ts'
export type { ArrayPiece, HeldReply } from './held-reply.ts'
export type { NodeFaults } from './in-memory-faults.ts'
export { InMemoryGrid, type InMemoryGridOptions, type InMemoryNode } from './in-memory-grid.ts'
export type { Lifespan } from './lifespan.ts'
export { log } from './log.ts'
export { adaptiveClipping, fixedClipping } from './mods/clipping-mods.ts'
export { type QuantizeOptions, quantize, type TopKOptions, topK } from './mods/compression-mods.ts'
export { type LocalDpOptions, localDp } from './mods/local-dp.ts'
export { personalLayers } from './mods/personal-layers.ts'
export { secAggPlus } from './mods/sec-agg-plus.ts'
export { secureAggregation } from './mods/secure-aggregation.ts'
export { arraysSize, messageSize } from './mods/size-mods.ts'
export {
  DifferentialPrivacyClientSideAdaptiveClipping,
  DifferentialPrivacyServerSideAdaptiveClipping,
  type DpAdaptiveClippingOptions,
} from './privacy/dp-adaptive-clipping.ts'
export {
  DifferentialPrivacyClientSideFixedClipping,
  DifferentialPrivacyServerSideFixedClipping,
  type DpFixedClippingOptions,
} from './privacy/dp-fixed-clipping.ts'
export type { PrivacyBudget } from './privacy/dp-wrapper.ts'
export { PrivacyBudgetExhaustedError } from './privacy/privacy-budget-error.ts'
export {
  type GaussianPrivacyEvent,
  type PrivacyConfig,
  type PrivacySpent,
  RdpAccountant,
  type SamplingMethod,
} from './privacy/rdp-accountant.ts'
export { SecAggPlus, type SecAggPlusOptions } from './secagg-plus/sec-agg-plus.ts'
export { SecureAggregation, type SecureAggregationOptions } from './secure-aggregation/secure-aggregation.ts'
export { NodeHistory, type NodePast } from './selection/node-history.ts'
export {
  all,
  byName,
  byTag,
  notLate,
  type RandomOptions,
  random,
  roundRobin,
  type SizeOptions,
  type WeightedOptions,
  weightedBy,
} from './selection/policies.ts'
export { policy, type Selected, type SelectionPolicy, type SelectNodes } from './selection/selection.ts'
export { ServerApp, type ServerFn } from './server-app.ts'
export { AggregationError } from './strategy/aggregation-error.ts'
export { Bulyan, type BulyanOptions, type SelectionRule } from './strategy/bulyan.ts'
export { FedAdagrad } from './strategy/fed-adagrad.ts'
export { FedAdam } from './strategy/fed-adam.ts'
export { type AggregateMetricsFn, FedAvg, type FedAvgOptions } from './strategy/fed-avg.ts'
export { FedAvgM, type FedAvgMOptions } from './strategy/fed-avg-m.ts'
export { type AsyncStartOptions, FedBuff, type FedBuffOptions } from './strategy/fed-buff.ts'
export { FedDyn, type FedDynOptions } from './strategy/fed-dyn.ts'
export { FedMedian } from './strategy/fed-median.ts'
export { FedNova, type FedNovaOptions } from './strategy/fed-nova.ts'
export { FedOpt, type FedOptOptions, type MomentOptions } from './strategy/fed-opt.ts'
export { FedProx, type FedProxOptions } from './strategy/fed-prox.ts'
export { FedTrimmedAvg, type FedTrimmedAvgOptions } from './strategy/fed-trimmed-avg.ts'
export { FedXgbBagging } from './strategy/fed-xgb-bagging.ts'
export { FedXgbCyclic, type FedXgbCyclicOptions } from './strategy/fed-xgb-cyclic.ts'
export { FedYogi } from './strategy/fed-yogi.ts'
export { GeometricMedian, type GeometricMedianOptions } from './strategy/geometric-median.ts'
export { InconsistentRepliesError } from './strategy/inconsistent-replies.ts'
export { Krum } from './strategy/krum.ts'
export { type KrumOptions, MultiKrum, type MultiKrumOptions } from './strategy/multi-krum.ts'
export { QFedAvg, type QFedAvgOptions } from './strategy/q-fed-avg.ts'
export { collect, Replies, WeightedReplies, type WeightedReply } from './strategy/reply-stream.ts'
export { type BestModel, Result, RoundMetrics } from './strategy/result.ts'
export { type Sample, sampleNodes } from './strategy/sample.ts'
export { Scaffold, type ScaffoldOptions } from './strategy/scaffold.ts'
export { ScaffoldNode } from './strategy/scaffold-node.ts'
export type {
  EvaluateFn,
  KeepBest,
  OnRound,
  ShouldStop,
  StartOptions,
  TrainingOptions,
} from './strategy/start-options.ts'
export { type Aggregate, Strategy, type TrainPhase, type TrainRound } from './strategy/strategy.ts'
export { Training } from './strategy/training.ts'
export { meanOfArrays, meanOfMetrics, type WeightedArrays, type WeightedMetrics } from './strategy/weighted-mean.ts'
export { WeightedSum } from './strategy/weighted-sum.ts'
