import { errorText, UsageError } from '../../base/errors.ts'
import { Message } from '../../message/message.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import { arrayOf, isFloat, newValues, tensorOf } from '../arithmetic/tensor.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { fittingShares, thresholdOf } from '../secure-aggregation/fitting-shares.ts'
import { needingOnlyMean } from '../secure-aggregation/mean-only.ts'
import { waitForThreshold } from '../selection/selecting-grid.ts'
import { AggregationError } from '../strategy/aggregation-error.ts'
import type { FedAvg } from '../strategy/fed-avg.ts'
import { checkedNumber } from '../strategy/option-checks.ts'
import { inNodeOrder } from '../strategy/replies.ts'
import { Replies } from '../strategy/reply-stream.ts'
import type { Aggregate, Strategy, TrainPhase } from '../strategy/strategy.ts'
import { StrategyWrapper } from '../strategy/strategy-wrapper.ts'
import { flowerSecret, isFlowerPair } from './flower-keys.ts'
import { flowerMask } from './flower-masks.ts'
import { keysIn, maskedIn, secretsOf, sharesFor } from './flower-replies.ts'
import { flowerRecordKey } from './flower-round.ts'
import { joinForFlower } from './flower-shares.ts'

/** The options of {@link SecAggPlus}. */
export interface SecAggPlusOptions {
  /** The part of the nodes that must come through every stage, above 0.5, by default 0.6. */
  readonly reconstructionThreshold?: number
  /** The largest number of examples of a node, by default 1000. */
  readonly maxWeight?: number | bigint
  /** Values are clipped to it, by default 8. */
  readonly clippingRange?: number | bigint
  /** How many steps a value can have, by default 2^22. */
  readonly quantizationRange?: number | bigint
  /** Seconds that nodes have for each stage without training, by default 600. */
  readonly timeout?: number | bigint
}

const modulus = 2 ** 32
const seedBytes = 32

/** For each sender, by the node that it is for: the encrypted share. */
type Shares = ReadonlyMap<bigint, ReadonlyMap<bigint, Uint8Array>>

/**
 * Flower's SecAgg+ (`SecAggPlusWorkflow`) for ClientApps in Python with the mod `secaggplus_mod`, which cannot be changed. All
 * nodes are neighbours of each other. It protects little: each mask comes from a seed of 32 bits, which a curious server can
 * try out; use {@link SecureAggregation} if the ClientApps are yours. A node that sends wrong shares of a seed can
 * spoil the mean unnoticed. The nodes receive Flower's old records, and evaluation is skipped.
 *
 * @example
 * new SecAggPlus(new FedAvg({ minTrainNodes: 10 }), { maxWeight: 5000 })
 */
export class SecAggPlus extends StrategyWrapper<FedAvg> {
  readonly reconstructionThreshold: number
  readonly maxWeight: number
  readonly clippingRange: number
  readonly quantizationRange: number
  readonly timeout: number
  #grid: Grid | undefined
  #threshold = 0
  #keys: ReadonlyMap<bigint, readonly [Uint8Array, Uint8Array]> = new Map()
  /** The nodes that have sent shares. */
  #senders: readonly bigint[] = []

  constructor(strategy: Strategy, options: SecAggPlusOptions = {}) {
    super(needingOnlyMean('SecAggPlus', strategy))
    const check = (name: string, value: number | bigint, bounds: object): number =>
      checkedNumber('SecAggPlus', name, value, bounds)
    const { reconstructionThreshold = 0.6, maxWeight = 1000, clippingRange = 8 } = options
    this.reconstructionThreshold = check('reconstructionThreshold', reconstructionThreshold, { above: 0.5, atMost: 1 })
    this.maxWeight = check('maxWeight', maxWeight, { above: 0 })
    this.clippingRange = check('clippingRange', clippingRange, { above: 0 })
    this.quantizationRange = check('quantizationRange', options.quantizationRange ?? 2 ** 22, {
      ...{ isWhole: true, above: 1, atMost: modulus / 4 },
    })
    this.timeout = check('timeout', options.timeout ?? 600, { above: 0 })
  }

  override summary(): void {
    log.warn(
      "Flower's SecAgg+ hides updates behind masks with seeds of 32 bits, which a curious server can try out. Prefer SecureAggregation.",
    )
    this.strategy.summary()
  }

  override async configureTrain(
    round: number,
    arrays: ArrayRecord,
    config: ConfigRecord,
    grid: Grid,
  ): Promise<Message[]> {
    this.#grid = grid
    this.#senders = []
    const messages = await this.strategy.configureTrain(round, arrays, config, grid)
    if (messages.length === 0) return []
    const nodes = messages.map(({ metadata }) => metadata.dstNodeId)
    this.#threshold = thresholdOf(this.reconstructionThreshold, nodes.length)
    if (nodes.length < 2)
      throw new UsageError(`SecAggPlus: ${nodes.length} nodes were sampled, but a round needs 2 or more: sample more.`)
    waitForThreshold(grid, this.#threshold)
    this.#keys = await this.#exchange('setup', nodes, this.#settings(nodes.length), keysIn)
    const keys = new ConfigRecord([...this.#keys].map(([node, pair]) => [String(node), [...pair]] as const))
    const members = [...this.#keys.keys()]
    const shares = await this.#exchange('share_keys', members, keys, (record, node) =>
      sharesFor(
        members.filter((other) => other !== node),
        record,
      ),
    )
    this.#senders = [...shares.keys()]
    return messages.flatMap((message) => this.#trainMessage(message, arrays, shares))
  }

  #settings(nodes: number): ConfigRecord {
    return new ConfigRecord({
      ...{ sample_num: nodes, share_num: nodes, threshold: this.#threshold },
      ...{ clipping_range: float(this.clippingRange), target_range: this.quantizationRange },
      ...{ mod_range: modulus, max_weight: float(this.maxWeight) },
    })
  }

  #trainMessage(message: Message, arrays: ArrayRecord, shares: Shares): Message[] {
    const { dstNodeId } = message.metadata
    if (!shares.has(dstNodeId)) return []
    const [srcs, ctxts]: [bigint[], Uint8Array[]] = [[], []]
    for (const [source, encrypted] of shares) {
      if (source === dstNodeId) continue
      srcs.push(source)
      ctxts.push(encrypted.get(dstNodeId) as Uint8Array)
    }
    const parameters = [...arrays.values()].map(
      ({ stype, data }, index) => [String(index), new NdArray({ dtype: '', shape: [], stype, data })] as const,
    )
    const content = new RecordDict([
      ['fitins.parameters', new ArrayRecord(parameters)],
      ['fitins.config', message.content.config(this.strategy.configrecordKey)],
      [flowerRecordKey, new ConfigRecord({ stage: 'collect_masked_vectors', ctxts, srcs })],
    ])
    return [new Message(message.metadata, { content })]
  }

  async aggregateTrain({ round, replies, current }: TrainPhase): Promise<Aggregate> {
    if (this.#senders.length === 0) return {}
    const lengths = [1, ...[...current].map(([name, array]) => tensorOf(name, array).values.length)]
    let sum: Float64Array[] | undefined
    const active: bigint[] = []
    for await (const reply of replies) {
      const { srcNodeId } = reply.metadata
      const parts = this.#read('collect_masked_vectors', reply, (record) => maskedIn(record, lengths))
      if (!parts || !this.#senders.includes(srcNodeId)) continue
      sum = sum ? sum.map((all, index) => all.map((value, at) => value + (parts[index]?.[at] as number))) : parts
      active.push(srcNodeId)
    }
    this.#ensureEnough('collect_masked_vectors', active.length)
    await this.#unmask(sum as Float64Array[], active)
    const mean = this.#meanOf(sum as Float64Array[], active.length, current)
    const [from] = replies.outlines
    const content = new RecordDict({
      arrays: mean,
      metrics: new MetricRecord({ [this.strategy.weightedByKey]: float(1) }),
    })
    const message = new Message({ ...(from as NonNullable<typeof from>).metadata }, { content })
    return this.strategy.aggregateTrain({ round, replies: Replies.of([message]), current })
  }

  /** Removes the masks in place. */
  async #unmask(sum: readonly Float64Array[], active: readonly bigint[]): Promise<void> {
    const dead = this.#senders.filter((node) => !active.includes(node))
    const record = new ConfigRecord({ active_nids: [...active], dead_nids: [...dead] })
    const shares = await this.#exchange('unmask', active, record, (reply) => secretsOf([...active, ...dead], reply))
    const { secrets, wrong } = fittingShares([...shares.keys()], this.#threshold, (chosen) => {
      const chosenShares = chosen.map((node) => shares.get(node) as ReadonlyMap<bigint, Uint8Array>)
      return new Map(
        [...active, ...dead].map((node) => [node, this.#secretOf(node, chosenShares, dead.includes(node))] as const),
      )
    })
    for (const node of wrong) log.warn(`\t> Node ${node} is left out of SecAgg+ (unmask): its shares are wrong.`)
    const lengths = sum.map(({ length }) => length)
    const apply = (secret: Uint8Array, sign: 1 | -1): void => {
      flowerMask(secret, modulus, lengths).forEach((mask, index) => {
        const part = sum[index] as Float64Array
        for (let at = 0; at < part.length; at++) part[at] = (part[at] as number) + sign * (mask[at] as number)
      })
    }
    for (const node of active) apply(secrets.get(node) as Uint8Array, -1)
    for (const node of dead) {
      const keyOf = (other: bigint): Uint8Array => (this.#keys.get(other) as readonly [Uint8Array, Uint8Array])[0]
      const key = secrets.get(node) as Uint8Array
      for (const other of active) apply(flowerSecret(key, keyOf(other)), node > other ? 1 : -1)
    }
  }

  /**
   * Returns the seed of a node, or the private key of a node that is lost. Throws if the key is not the one of the node, or the
   * shares have no seed of the right length. Other wrong shares of a seed cannot be noticed: the protocol has no check of it.
   */
  #secretOf(node: bigint, shares: readonly ReadonlyMap<bigint, Uint8Array>[], isLost: boolean): Uint8Array {
    try {
      const secret = joinForFlower(shares.map((sharesOfNode) => sharesOfNode.get(node) as Uint8Array))
      const [publicKey] = this.#keys.get(node) as readonly [Uint8Array, Uint8Array]
      if (isLost ? isFlowerPair(secret, publicKey) : secret.length === seedBytes) return secret
      throw new RangeError('The shares are not of its secret.')
    } catch (cause) {
      const error = new AggregationError(
        `The shares of node ${node} do not fit together, and too few nodes are left to do without wrong ones. The round cannot be unmasked.`,
      )
      error.cause = cause
      throw error
    }
  }

  #meanOf(sum: readonly Float64Array[], nodes: number, current: ArrayRecord): ArrayRecord {
    const within = (value: number): number => value - Math.floor(value / modulus) * modulus
    const [weights, ...parts] = sum
    const total = within(weights?.[0] as number) / this.quantizationRange
    if (!(total > 0))
      throw new AggregationError('The weights of the nodes are 0 together: no mean can be made of them.')
    const step = (2 * this.clippingRange) / this.quantizationRange
    return new ArrayRecord(
      [...current].map(([name, array], index) => {
        const { dtype, shape } = tensorOf(name, array)
        const type = isFloat(dtype) ? dtype : 'float64'
        const values = newValues(type, (parts[index] as Float64Array).length)
        for (const [at, value] of (parts[index] as Float64Array).entries())
          values[at] = (within(value) * step - nodes * this.clippingRange) / total
        return [name, arrayOf({ dtype: type, shape, fortranOrder: false, values })] as const
      }),
    )
  }

  /** Returns what `read` makes of the replies; nodes whose reply it cannot read are left out. */
  async #exchange<T>(
    stage: string,
    nodes: readonly bigint[],
    request: ConfigRecord,
    read: (record: ConfigRecord, node: bigint) => T,
  ): Promise<Map<bigint, T>> {
    const content = new RecordDict([[flowerRecordKey, request.set('stage', stage)]])
    const messages = nodes.map((dstNodeId) => Message.create({ content, messageType: 'train', dstNodeId }))
    const replies = await (this.#grid as Grid).sendAndReceive(messages, { timeoutSeconds: this.timeout })
    const found = new Map<bigint, T>()
    for (const reply of inNodeOrder(replies)) {
      const { srcNodeId } = reply.metadata
      const value = this.#read(stage, reply, (record) => read(record, srcNodeId))
      if (value !== undefined) found.set(srcNodeId, value)
    }
    log.info(`SecAgg+, ${stage}: ${found.size} of ${nodes.length} nodes`)
    this.#ensureEnough(stage, found.size)
    return found
  }

  /** Returns `undefined`, and logs why, for a reply that is none of this stage. */
  #read<T>(stage: string, reply: Message, read: (record: ConfigRecord) => T): T | undefined {
    try {
      if (reply.error) throw new TypeError(reply.error.reason)
      return read(reply.content.config(flowerRecordKey))
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error
      log.warn(`\t> Node ${reply.metadata.srcNodeId} is left out of SecAgg+ (${stage}): ${errorText(error)}`)
      return undefined
    }
  }

  #ensureEnough(stage: string, nodes: number): void {
    if (nodes >= this.#threshold && nodes > 0) return
    throw new AggregationError(
      `SecAgg+ failed in the stage '${stage}': ${nodes} nodes are left, and its threshold is ${this.#threshold}. The ClientApp needs the mod secaggplus_mod.`,
    )
  }

  override async configureEvaluate(): Promise<Message[]> {
    return []
  }

  override async aggregateEvaluate(): Promise<undefined> {
    return undefined
  }
}
