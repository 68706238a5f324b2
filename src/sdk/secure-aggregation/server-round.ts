import { randomBytes } from 'node:crypto'
import { Message } from '../../message/message.ts'
import { type ArrayRecord, type ConfigRecord, type MetricRecord, RecordDict } from '../../message/records.ts'
import { float } from '../../message/value.ts'
import type { Grid } from '../grid.ts'
import { log } from '../log.ts'
import { AggregationError } from '../strategy/aggregation-error.ts'
import { inNodeOrder } from '../strategy/replies.ts'
import type { Replies } from '../strategy/reply-stream.ts'
import { fittingShares } from './fitting-shares.ts'
import { decodeMean, decodeMetrics, type MetricLayout, metricOf, type Scale, valueCount } from './fixed-point.ts'
import { commonLayout, maskedIn } from './masked-reply.ts'
import { MaskedVector } from './masked-vector.ts'
import { derivedKey, keyBytes, publicKeyOf, sharedSecrets } from './round-keys.ts'
import { secretJoiner, shareBytes } from './secret-sharing.ts'
import {
  bytesList,
  bytesOf,
  exchangeType,
  idBytes,
  inOrder,
  isSame,
  maskedKey,
  recordKey,
  type Stage,
  sessionBytes,
  stageRecord,
  textOf,
  WireError,
} from './wire.ts'

export interface RoundOptions {
  /** How many nodes must come through every stage. */
  readonly threshold: number
  readonly scale: Scale
  readonly maxWeight: number
  readonly weightedBy: string
  readonly timeoutSeconds: number
}

/** A node and its public keys. */
interface Member {
  readonly nodeId: bigint
  readonly id: Uint8Array
  readonly cipherKey: Uint8Array
  readonly maskKey: Uint8Array
}

export interface MaskedMean {
  readonly arrays: ArrayRecord
  readonly metrics: MetricRecord
  /** The sum of the weights of the nodes. */
  readonly weight: number
  readonly nodes: number
}

/**
 * The side of the server in one round: brings nodes together, adds up what they have masked, and removes the masks with the
 * shares of the nodes that are left. It learns the sums and no single update. Throws an AggregationError if fewer nodes than
 * the threshold come through a stage.
 */
export class ServerRound {
  readonly #grid: Grid
  readonly #options: RoundOptions
  readonly #session: Uint8Array = Uint8Array.from(randomBytes(sessionBytes))
  #members: readonly Member[] = []
  /** The encrypted shares that each node has sent, by its place in the list of members, in the order of that list. */
  readonly #ciphertexts = new Map<number, readonly Uint8Array[]>()

  constructor(grid: Grid, options: RoundOptions) {
    this.#grid = grid
    this.#options = options
  }

  /** Stages 1 and 2. Returns the messages to train of the nodes that are left, each with its shares. */
  async prepare(messages: readonly Message[]): Promise<Message[]> {
    const { threshold, scale, maxWeight, weightedBy } = this.#options
    const asked = messages.map(({ metadata }) => metadata.dstNodeId)
    const request = stageRecord('keys', this.#session, { threshold })
    const keys = await this.#exchange('keys', asked, request, (record, nodeId) => ({
      ...{ nodeId, id: idBytes(nodeId) },
      ...{ cipherKey: bytesOf(record, 'cipher-key', keyBytes), maskKey: bytesOf(record, 'mask-key', keyBytes) },
    }))
    this.#members = [...keys.values()]
    const list = stageRecord('shares', this.#session, {
      nodes: this.#members.map(({ id }) => id),
      'cipher-keys': this.#members.map(({ cipherKey }) => cipherKey),
      'mask-keys': this.#members.map(({ maskKey }) => maskKey),
    })
    const shares = await this.#exchange('shares', [...keys.keys()], list, (record) => {
      const ciphertexts = bytesList(record, 'ciphertexts')
      if (ciphertexts.length === this.#members.length) return ciphertexts
      throw new WireError('There must be shares for each node.')
    })
    this.#members.forEach(({ nodeId }, place) => {
      const ciphertexts = shares.get(nodeId)
      if (ciphertexts) this.#ciphertexts.set(place, ciphertexts)
    })
    const senders = [...this.#ciphertexts.keys()].map((place) => this.#memberAt(place).id)
    const weighting = { 'clipping-range': float(scale.clippingRange), bits: scale.bits, 'max-weight': float(maxWeight) }
    return messages.flatMap(({ metadata, content }) => {
      const place = this.#members.findIndex(({ nodeId }) => nodeId === metadata.dstNodeId)
      if (!this.#ciphertexts.has(place)) return []
      const ciphertexts = [...this.#ciphertexts.values()].map((all) => all[place] as Uint8Array)
      const record = stageRecord('masked', this.#session, {
        ...{ nodes: senders, ciphertexts, ...weighting, 'weighted-by': weightedBy },
      })
      return [new Message(metadata, { content: new RecordDict([...content, [recordKey, record] as const]) })]
    })
  }

  /** Stages 3 and 4: adds up the replies, and removes the masks. */
  async finish(replies: Replies, current: ArrayRecord): Promise<MaskedMean> {
    const { sum, layout, survivors } = await this.#added(replies, valueCount(current))
    this.#ensureEnough('masked', survivors.length)
    const lost = [...this.#ciphertexts.keys()].filter((place) => !survivors.includes(place))
    await this.#unmask(sum, survivors, lost)
    const shares = metricOf(sum.metrics[0] as bigint)
    if (!(shares > 0))
      throw new AggregationError('The weights of the nodes are 0 together: no mean can be made of them.')
    const clipped = metricOf(sum.metrics[1] as bigint) / survivors.length
    if (clipped > 0)
      log.warn(`Nodes clipped ${(clipped * 100).toFixed(2)} % of their changes: a larger clippingRange keeps them.`)
    return {
      arrays: decodeMean(current, sum.values, shares, this.#options.scale),
      metrics: decodeMetrics(sum, layout, shares),
      weight: shares * this.#options.maxWeight,
      nodes: survivors.length,
    }
  }

  /** The sum of the masked numbers, and the places of the nodes that are in it. */
  async #added(
    replies: Replies,
    values: number,
  ): Promise<{ sum: MaskedVector; layout: MetricLayout; survivors: number[] }> {
    const survivors: number[] = []
    const needed = { values, layout: commonLayout(replies.outlines) }
    let sum: MaskedVector | undefined
    let layout: MetricLayout | undefined
    for await (const reply of replies) {
      const place = this.#members.findIndex(({ nodeId }) => nodeId === reply.metadata.srcNodeId)
      const read = this.#read('masked', reply, (record) => maskedIn(record, reply.content.arrays(maskedKey), needed))
      if (!read || !this.#ciphertexts.has(place)) continue
      layout ??= read.layout
      sum ??= new MaskedVector(values, read.metrics.length)
      sum.add(read.values, read.metrics)
      survivors.push(place)
    }
    log.info(`secure aggregation, masked: ${survivors.length} of ${this.#ciphertexts.size} nodes`)
    if (sum && layout) return { sum, layout, survivors: survivors.toSorted((a, b) => a - b) }
    throw this.#tooFew('masked', 0)
  }

  async #unmask(sum: MaskedVector, survivors: readonly number[], lost: readonly number[]): Promise<void> {
    const request = stageRecord('unmask', this.#session, {
      survivors: survivors.map((place) => this.#memberAt(place).id),
      dropped: lost.map((place) => this.#memberAt(place).id),
    })
    const nodeIds = survivors.map((place) => this.#memberAt(place).nodeId)
    const owners = [...survivors, ...lost]
    const shares = await this.#exchange('unmask', nodeIds, request, (record) => {
      const list = bytesList(record, 'shares', shareBytes)
      if (list.length === owners.length) return list
      throw new WireError('There must be a share of each node.')
    })
    const { secrets, wrong } = fittingShares([...shares.keys()], this.#options.threshold, (chosen) => {
      const join = secretJoiner(
        chosen.map((node) => 1 + this.#members.findIndex(({ nodeId: member }) => member === node)),
      )
      return owners.map((place, index) => {
        const secret = this.#joined(place, () => join(chosen.map((node) => shares.get(node)?.[index] as Uint8Array)))
        const isKey = index >= survivors.length
        if (isKey && !isSame(publicKeyOf(secret), this.#memberAt(place).maskKey)) throw this.#wrongShares(place)
        return secret
      })
    })
    for (const node of wrong) log.warn(`\t> Node ${node} is left out of the unmasking: its shares are wrong.`)
    for (const [index, place] of owners.entries()) {
      const secret = secrets[index] as Uint8Array
      if (index < survivors.length) await this.#removeOwnMask(sum, place, secret)
      else await this.#removePairMasks(sum, place, secret, survivors)
    }
  }

  #joined(place: number, join: () => Uint8Array): Uint8Array {
    try {
      return join()
    } catch (error) {
      throw this.#wrongShares(place, error)
    }
  }

  async #removeOwnMask(sum: MaskedVector, place: number, seed: Uint8Array): Promise<void> {
    await sum.applyMask(derivedKey(seed, this.#session, 'own mask', [this.#memberAt(place).id]), -1)
  }

  /** The survivors have masked their updates with a node that was lost: its mask key gives these masks. */
  async #removePairMasks(
    sum: MaskedVector,
    place: number,
    maskKey: Uint8Array,
    survivors: readonly number[],
  ): Promise<void> {
    const lost = this.#memberAt(place)
    const secretWith = sharedSecrets(maskKey)
    for (const survivor of survivors.map((each) => this.#memberAt(each))) {
      const pair = inOrder(survivor.id, lost.id)
      const key = derivedKey(secretWith(survivor.maskKey), this.#session, 'pair mask', pair)
      await sum.applyMask(key, pair[0] === survivor.id ? -1 : 1)
    }
  }

  #wrongShares(place: number, cause?: unknown): AggregationError {
    const error = new AggregationError(
      `The shares of node ${this.#memberAt(place).nodeId} do not fit together, and too few nodes are left to do without wrong ones. The round cannot be unmasked.`,
    )
    error.cause = cause
    return error
  }

  /** Sends one record to nodes. Returns what `read` makes of their replies, by node id; nodes that fail are left out. */
  async #exchange<T>(
    stage: Stage,
    nodeIds: readonly bigint[],
    record: ConfigRecord,
    read: (record: ConfigRecord, nodeId: bigint) => T,
  ): Promise<Map<bigint, T>> {
    const content = new RecordDict([[recordKey, record]])
    const messages = nodeIds.map((dstNodeId) => Message.create({ content, messageType: exchangeType, dstNodeId }))
    const { timeoutSeconds } = this.#options
    const replies = inNodeOrder(await this.#grid.sendAndReceive(messages, { timeoutSeconds }))
    const found = new Map<bigint, T>()
    for (const reply of replies) {
      const { srcNodeId } = reply.metadata
      const value = nodeIds.includes(srcNodeId)
        ? this.#read(stage, reply, (content) => ({ value: read(content, srcNodeId) }))
        : undefined
      if (value) found.set(srcNodeId, value.value)
    }
    log.info(`secure aggregation, ${stage}: ${found.size} of ${nodeIds.length} nodes`)
    this.#ensureEnough(stage, found.size)
    return found
  }

  /** Reads the record of a reply. Returns `undefined`, and logs why, for a reply that is none of this stage. */
  #read<T>(stage: Stage, reply: Message, read: (record: ConfigRecord) => T): T | undefined {
    try {
      if (reply.error) throw new WireError(reply.error.reason)
      const record = reply.content.config(recordKey)
      const isOfRound = isSame(bytesOf(record, 'session', sessionBytes), this.#session)
      if (!isOfRound || textOf(record, 'stage') !== stage) throw new WireError('The reply is of another stage.')
      return read(record)
    } catch (error) {
      // Damaged arrays are TypeErrors and RangeErrors.
      if (!(error instanceof WireError || error instanceof TypeError || error instanceof RangeError)) throw error
      log.warn(`\t> Node ${reply.metadata.srcNodeId} is left out of secure aggregation (${stage}): ${error.message}`)
      return undefined
    }
  }

  #ensureEnough(stage: Stage, nodes: number): void {
    if (nodes < this.#options.threshold) throw this.#tooFew(stage, nodes)
  }

  #tooFew(stage: Stage, nodes: number): AggregationError {
    return new AggregationError(
      `Secure aggregation failed in the stage '${stage}': ${nodes} nodes are left, and its threshold is ${this.#options.threshold}. The warnings above say why nodes were left out; the ClientApp needs the mod secureAggregation().`,
    )
  }

  #memberAt(place: number): Member {
    return this.#members[place] as Member
  }
}
