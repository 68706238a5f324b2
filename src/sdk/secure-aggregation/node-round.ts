import { randomBytes } from 'node:crypto'
import type { ArrayRecord, ConfigRecord, MetricRecord } from '../../message/records.ts'
import {
  encodeMetrics,
  encodeUpdate,
  layoutOf,
  type MetricLayout,
  metricCount,
  RefusedByNodeError,
  roundedShare,
  type Scale,
  valueCount,
} from './fixed-point.ts'
import { MaskedVector } from './masked-vector.ts'
import { derivedKey, type KeyPair, keyBytes, newKeyPair, seal, sharedSecrets, unseal } from './round-keys.ts'
import { secretBytes, shareBytes, splitSecret } from './secret-sharing.ts'
import {
  bytesList,
  bytesOf,
  hexOf,
  idBytes,
  inOrder,
  isSame,
  numberOf,
  type Stage,
  sessionBytes,
  stageRecord,
  stages,
  textOf,
} from './wire.ts'

/** Where a node keeps its side of a round, in the state of its context. */
export const stateKey = 'trellis-secure-aggregation'

/** What a node needs to mask its update. */
export interface Masking {
  readonly scale: Scale
  readonly maxWeight: number
  /** The metric that is the weight; empty if all nodes count the same. */
  readonly weightedBy: string
}

/**
 * The side of a node in one round (Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning",
 * 2017, figure 4, against a server that follows the protocol). Each stage can be done once, in order. The node checks what
 * the server asks of it: own keys in the list, a threshold of more than half of the nodes, enough survivors, and never both
 * secrets of one node.
 */
export class NodeRound {
  readonly #ownId: Uint8Array
  readonly #state: ConfigRecord

  /** `state` is what the stage before has left; empty at first. */
  constructor(nodeId: bigint, state: ConfigRecord) {
    this.#ownId = idBytes(nodeId)
    this.#state = state
  }

  /** What the next stage needs. */
  get state(): ConfigRecord {
    return this.#state
  }

  /** Throws a {@link RefusedByNodeError} unless it is this stage's turn in this session. */
  checkTurn(stage: Stage, request: ConfigRecord): void {
    const last = this.#state.get('stage')
    const session = bytesOf(request, 'session', sessionBytes)
    const isSameSession = this.#state.has('session') && isSame(bytesOf(this.#state, 'session', sessionBytes), session)
    if (stage === 'keys' && !isSameSession) return
    if (isSameSession && stage !== 'keys' && stages.indexOf(stage) === stages.indexOf(last as Stage) + 1) return
    const done = isSameSession ? `the stage '${last}' of it is done` : 'this node has no keys for it'
    throw new RefusedByNodeError(`This node refuses the stage '${stage}' of a round of secure aggregation: ${done}.`)
  }

  /** Stage 1: new keys, one to encrypt shares and one for masks. */
  keys(request: ConfigRecord): ConfigRecord {
    const session = bytesOf(request, 'session', sessionBytes)
    const threshold = numberOf(request, 'threshold')
    if (!Number.isSafeInteger(threshold) || threshold < 2)
      throw new RefusedByNodeError(`A threshold of ${threshold} nodes does not hide single updates.`)
    const [cipher, mask] = [newKeyPair(), newKeyPair()]
    this.#replaceState({
      ...{ stage: 'keys', session, threshold },
      ...{ 'cipher-private': cipher.privateKey, 'cipher-public': cipher.publicKey },
      ...{ 'mask-private': mask.privateKey, 'mask-public': mask.publicKey },
    })
    return stageRecord('keys', session, { 'cipher-key': cipher.publicKey, 'mask-key': mask.publicKey })
  }

  /** Stage 2: shares of the own mask's seed and of the mask key, encrypted for each other node. */
  shares(request: ConfigRecord): ConfigRecord {
    const nodes = bytesList(request, 'nodes', 8)
    const cipherKeys = bytesList(request, 'cipher-keys', keyBytes)
    const maskKeys = bytesList(request, 'mask-keys', keyBytes)
    const threshold = numberOf(this.#state, 'threshold')
    const place = this.#checkMembers(nodes, cipherKeys, maskKeys, threshold)
    const seed = randomBytes(secretBytes)
    const seedShares = splitSecret(seed, nodes.length, threshold)
    const keyShares = splitSecret(this.#pair('mask').privateKey, nodes.length, threshold)
    const secretWith = sharedSecrets(this.#pair('cipher').privateKey)
    const ciphertexts = nodes.map((node, index) => {
      if (index === place) return new Uint8Array()
      const key = derivedKey(secretWith(cipherKeys[index] as Uint8Array), this.#session, 'shares', [this.#ownId, node])
      return seal(key, Buffer.concat([seedShares[index] as Uint8Array, keyShares[index] as Uint8Array]))
    })
    this.#advance('shares', {
      ...{ nodes, 'cipher-keys': cipherKeys, 'mask-keys': maskKeys, seed },
      ...{ 'own-seed-share': seedShares[place] as Uint8Array, 'own-key-share': keyShares[place] as Uint8Array },
    })
    return stageRecord('shares', this.#session, { ciphertexts })
  }

  /** Returns the place of this node in the list. */
  #checkMembers(
    nodes: readonly Uint8Array[],
    cipherKeys: readonly Uint8Array[],
    maskKeys: readonly Uint8Array[],
    threshold: number,
  ): number {
    const place = nodes.findIndex((node) => isSame(node, this.#ownId))
    const refuse = (reason: string): never => {
      throw new RefusedByNodeError(`This node refuses the list of keys of secure aggregation: ${reason}.`)
    }
    if (cipherKeys.length !== nodes.length || maskKeys.length !== nodes.length)
      refuse('its parts have different lengths')
    if (place < 0) refuse('this node is not in it')
    const isOwn = (key: Uint8Array | undefined, kind: 'cipher' | 'mask'): boolean =>
      key !== undefined && isSame(key, this.#pair(kind).publicKey)
    if (!isOwn(cipherKeys[place], 'cipher') || !isOwn(maskKeys[place], 'mask'))
      refuse('it has other keys for this node than the node has sent')
    if (new Set(nodes.map(hexOf)).size !== nodes.length) refuse('a node is in it twice')
    if (new Set([...cipherKeys, ...maskKeys].map(hexOf)).size !== 2 * nodes.length) refuse('a key is in it twice')
    if (nodes.length < threshold) refuse(`it has ${nodes.length} nodes, but the threshold is ${threshold}`)
    // With half of the nodes or less, the server could get one secret of a node from one half, and the other from the other.
    if (2 * threshold <= nodes.length)
      refuse(`its threshold of ${threshold} is not more than half of ${nodes.length} nodes`)
    return place
  }

  /** Stage 3, before training: keeps the shares of the other nodes. Returns how the update is to be masked. */
  receiveShares(request: ConfigRecord): Masking {
    const senders = bytesList(request, 'nodes', 8)
    const ciphertexts = bytesList(request, 'ciphertexts')
    const nodes = bytesList(this.#state, 'nodes', 8)
    const cipherKeys = bytesList(this.#state, 'cipher-keys', keyBytes)
    this.#checkEnough(senders, 'shared their keys')
    if (ciphertexts.length !== senders.length) throw new RefusedByNodeError('Nodes and shares differ in number.')
    const secretWith = sharedSecrets(this.#pair('cipher').privateKey)
    const held = senders.map((sender, index) => {
      if (isSame(sender, this.#ownId))
        return [this.#state.getBytes('own-seed-share'), this.#state.getBytes('own-key-share')]
      const key = cipherKeys[nodes.findIndex((node) => isSame(node, sender))]
      const cipherKey = key && derivedKey(secretWith(key), this.#session, 'shares', [sender, this.#ownId])
      const plain = cipherKey && unseal(cipherKey, ciphertexts[index] as Uint8Array)
      if (plain?.length !== 2 * shareBytes)
        throw new RefusedByNodeError(`The shares of node ${hexOf(sender)} are not what that node has encrypted.`)
      return [plain.subarray(0, shareBytes), plain.subarray(shareBytes)]
    }) as [Uint8Array, Uint8Array][]
    this.#advance('masked', {
      ...{ holders: senders },
      ...{ 'seed-shares': held.map(([share]) => share), 'key-shares': held.map(([, share]) => share) },
    })
    const clippingRange = numberOf(request, 'clipping-range')
    const bits = numberOf(request, 'bits')
    const maxWeight = numberOf(request, 'max-weight')
    if (!(clippingRange > 0) || !(maxWeight > 0) || !(bits >= 2 && bits <= 32))
      throw new RefusedByNodeError('clipping-range, max-weight or bits make no sense.')
    return { scale: { clippingRange, bits }, maxWeight, weightedBy: textOf(request, 'weighted-by') }
  }

  /** Stage 3, after training: the update and the metrics, masked. The secrets that were needed for it are forgotten. */
  async mask(
    models: { current: ArrayRecord; trained: ArrayRecord },
    metrics: MetricRecord,
    { scale, maxWeight, weightedBy }: Masking,
  ): Promise<{ vector: MaskedVector; layout: MetricLayout; clippedPart: number }> {
    const share = roundedShare(weightOf(metrics, weightedBy, maxWeight) / maxWeight)
    const layout = layoutOf(metrics, weightedBy)
    const vector = new MaskedVector(valueCount(models.current), metricCount(layout))
    const clippedPart = encodeUpdate(models, share, scale, vector.values) / Math.max(1, vector.values.length)
    encodeMetrics(metrics, layout, { share, clippedPart }, vector.metrics)
    const nodes = bytesList(this.#state, 'nodes', 8)
    const maskKeys = bytesList(this.#state, 'mask-keys', keyBytes)
    const secretWith = sharedSecrets(this.#pair('mask').privateKey)
    await vector.applyMask(derivedKey(this.#state.getBytes('seed'), this.#session, 'own mask', [this.#ownId]), 1)
    for (const other of bytesList(this.#state, 'holders', 8)) {
      if (isSame(other, this.#ownId)) continue
      const maskKey = maskKeys[nodes.findIndex((node) => isSame(node, other))] as Uint8Array
      const pair = inOrder(this.#ownId, other)
      const key = derivedKey(secretWith(maskKey), this.#session, 'pair mask', pair)
      await vector.applyMask(key, pair[0] === this.#ownId ? 1 : -1)
    }
    for (const secret of [
      'seed',
      'mask-private',
      'cipher-private',
      'own-seed-share',
      'own-key-share',
      'cipher-keys',
      'mask-keys',
    ])
      this.#state.delete(secret)
    return { vector, layout, clippedPart }
  }

  /** Stage 4: for each survivor a share of its own mask's seed, and for each node that was lost one of its mask key. */
  unmask(request: ConfigRecord): ConfigRecord {
    const survivors = bytesList(request, 'survivors', 8)
    const lost = bytesList(request, 'dropped', 8)
    const holders = bytesList(this.#state, 'holders', 8)
    this.#checkEnough(survivors, 'sent their update')
    const asked = [...survivors, ...lost].map(hexOf)
    if (new Set(asked).size !== asked.length)
      throw new RefusedByNodeError('This node refuses to give both secrets of one node: a node is in the list twice.')
    const placeOf = new Map(holders.map((holder, place) => [hexOf(holder), place]))
    const places = asked.map((node) => placeOf.get(node) ?? -1)
    if (places.includes(-1) || places.length !== holders.length)
      throw new RefusedByNodeError(
        'This node refuses to unmask other nodes than those that it has masked its update with.',
      )
    const seedShares = bytesList(this.#state, 'seed-shares', shareBytes)
    const keyShares = bytesList(this.#state, 'key-shares', shareBytes)
    const shares = places.map(
      (place, index) => (index < survivors.length ? seedShares : keyShares)[place] as Uint8Array,
    )
    const session = this.#session
    this.#replaceState({ stage: 'unmask', session })
    return stageRecord('unmask', session, { shares })
  }

  #checkEnough(nodes: readonly Uint8Array[], what: string): void {
    const threshold = numberOf(this.#state, 'threshold')
    const isIn = nodes.some((node) => isSame(node, this.#ownId))
    if (nodes.length >= threshold && new Set(nodes.map(hexOf)).size === nodes.length && isIn) return
    throw new RefusedByNodeError(
      `This node refuses a round in which ${nodes.length} nodes ${what}${isIn ? '' : ', without this node'}: the threshold is ${threshold}.`,
    )
  }

  get #session(): Uint8Array {
    return bytesOf(this.#state, 'session', sessionBytes)
  }

  #pair(kind: 'cipher' | 'mask'): KeyPair {
    return {
      privateKey: bytesOf(this.#state, `${kind}-private`, keyBytes),
      publicKey: bytesOf(this.#state, `${kind}-public`, keyBytes),
    }
  }

  #advance(stage: Stage, fields: Readonly<Record<string, Uint8Array | Uint8Array[]>>): void {
    for (const [key, value] of Object.entries({ stage, ...fields })) this.#state.set(key, value)
  }

  #replaceState(fields: Readonly<Record<string, string | number | Uint8Array>>): void {
    for (const key of [...this.#state.keys()]) this.#state.delete(key)
    for (const [key, value] of Object.entries(fields)) this.#state.set(key, value)
  }
}

function weightOf(metrics: MetricRecord, weightedBy: string, maxWeight: number): number {
  if (weightedBy === '') return maxWeight
  const value = metrics.get(weightedBy)
  const weight = Number(value)
  if (value === undefined || Array.isArray(value) || !(weight >= 0))
    throw new RefusedByNodeError(`The reply has no metric '${weightedBy}' of 0 or more: return it from the ClientApp.`)
  if (weight <= maxWeight) return weight
  throw new RefusedByNodeError(
    `'${weightedBy}' of a node is above maxWeight (${maxWeight}): set maxWeight of SecureAggregation to the largest weight of a node.`,
  )
}
