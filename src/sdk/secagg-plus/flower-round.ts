import { randomBytes } from 'node:crypto'
import { limits } from '../../base/limits.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ConfigRecord, RecordDict } from '../../message/records.ts'
import { isFloat, tensorOf, valuesIn } from '../arithmetic/tensor.ts'
import { fernetDecrypt, fernetEncrypt, flowerSecret, newFlowerKeys } from './flower-keys.ts'
import { flowerMask } from './flower-masks.ts'
import { splitForFlower } from './flower-shares.ts'

/** The ConfigRecord of each message and reply. */
export const flowerRecordKey = 'secaggplus_configs'

const stages = ['setup', 'share_keys', 'collect_masked_vectors', 'unmask']
const settings = ['share_num', 'threshold', 'clipping_range', 'target_range', 'mod_range', 'max_weight']

/** What the node cannot or will not do: it replies with an error. */
export class RefusedInFlowerRoundError extends Error {}

/** What a node has trained. */
export interface FitResult {
  readonly arrays: readonly NdArray[]
  readonly examples: number
  /** The records of the reply, without arrays. */
  readonly records: RecordDict
}

/** The side of a node in one round of Flower's SecAgg+. */
export class FlowerRound {
  readonly #nodeId: bigint
  readonly state: ConfigRecord

  /** `state` is what the stage before has left. */
  constructor(nodeId: bigint, state: ConfigRecord = new ConfigRecord()) {
    this.#nodeId = nodeId
    this.state = state
  }

  /** Does the next stage. Returns the content of the reply. */
  async handle(request: ConfigRecord, train: () => Promise<FitResult>): Promise<RecordDict> {
    const stage = String(request.get('stage'))
    const last = String(this.state.get('stage') ?? 'unmask')
    if (stage !== 'setup' && stages[stages.indexOf(last) + 1] !== stage)
      throw new RefusedInFlowerRoundError(`This node refuses the stage '${stage}' of SecAgg+ after '${last}'.`)
    const replies: Record<string, () => ConfigRecord | Promise<RecordDict>> = {
      setup: () => this.#setUp(request),
      share_keys: () => this.#shareKeys(request),
      collect_masked_vectors: () => this.#collect(request, train),
      unmask: () => this.#unmask(request),
    }
    const reply = await replies[stage]?.()
    if (!reply) throw new RefusedInFlowerRoundError(`There is no stage '${stage}' of SecAgg+.`)
    this.state.set('stage', stage)
    return reply instanceof RecordDict ? reply : new RecordDict([[flowerRecordKey, reply]])
  }

  #setUp(request: ConfigRecord): ConfigRecord {
    for (const key of [...this.state.keys()]) this.state.delete(key)
    for (const key of settings) this.state.set(key, request.getNumber(key))
    this.#checkSettings()
    const [masks, shares] = [newFlowerKeys(), newFlowerKeys()]
    this.state.set('sk1', masks.privateKey).set('sk2', shares.privateKey)
    this.state.set('pk1', masks.publicKey).set('pk2', shares.publicKey)
    return new ConfigRecord({ pk1: masks.publicKey, pk2: shares.publicKey })
  }

  /** Throws for settings with which a mask would take for ever, or hide nothing. */
  #checkSettings(): void {
    const modulus = this.state.getNumber('mod_range')
    if (!(modulus >= 4 && modulus <= 2 ** 32 && Number.isInteger(Math.log2(modulus))))
      throw new RefusedInFlowerRoundError(
        `This node refuses the mod_range ${modulus}: it takes powers of 2 up to 2^32.`,
      )
    for (const key of ['threshold', 'share_num']) {
      const count = this.state.getNumber(key)
      if (!(Number.isInteger(count) && count >= 2 && count <= limits.secureAggregationNodesMax))
        throw new RefusedInFlowerRoundError(
          `This node refuses the ${key} ${count}: it takes 2 to ${limits.secureAggregationNodesMax}.`,
        )
    }
  }

  #shareKeys(request: ConfigRecord): ConfigRecord {
    const members = [...request].filter(([key]) => key !== 'stage') as [string, [Uint8Array, Uint8Array]][]
    const threshold = this.state.getNumber('threshold')
    const ownKeys = members.find(([id]) => id === String(this.#nodeId))?.[1]
    const keys = members.flatMap(([, pair]) => pair.map((key) => Buffer.from(key).toString()))
    if (members.length < threshold) throw new RefusedInFlowerRoundError('Fewer nodes than the threshold are left.')
    if (new Set(keys).size !== keys.length) throw new RefusedInFlowerRoundError('A public key is in the list twice.')
    if (
      !ownKeys ||
      ['pk1', 'pk2'].some((key, index) => Buffer.compare(this.#bytes(key), ownKeys[index] as Uint8Array) !== 0)
    )
      throw new RefusedInFlowerRoundError('The list has other public keys for this node than it has sent.')
    const seed = Uint8Array.from(randomBytes(32))
    const count = Math.max(this.state.getNumber('share_num'), members.length)
    const [seedShares, keyShares] = [seed, this.#bytes('sk1')].map((secret) => splitForFlower(secret, threshold, count))
    const [dsts, ctxts]: [bigint[], Uint8Array[]] = [[], []]
    members.forEach(([id, [, publicKey]], index) => {
      const [seedShare, keyShare] = [seedShares?.[index] as Uint8Array, keyShares?.[index] as Uint8Array]
      if (id === String(this.#nodeId)) {
        this.#keepShares(id, seedShare, keyShare)
        return
      }
      const secret = flowerSecret(this.#bytes('sk2'), publicKey)
      this.state.set(`secret ${id}`, secret)
      dsts.push(BigInt(id))
      ctxts.push(fernetEncrypt(secret, plainShares(this.#nodeId, BigInt(id), seedShare, keyShare)))
    })
    for (const [id, [publicKey]] of members) this.state.set(`pk1 ${id}`, publicKey)
    this.state.set('seed', seed)
    return new ConfigRecord({ dsts, ctxts })
  }

  async #collect(request: ConfigRecord, train: () => Promise<FitResult>): Promise<RecordDict> {
    const sources = list(request, 'srcs').map(String)
    const tokens = list(request, 'ctxts') as Uint8Array[]
    if (tokens.length + 1 < this.state.getNumber('threshold') || tokens.length !== sources.length)
      throw new RefusedInFlowerRoundError('Fewer nodes than the threshold are left.')
    sources.forEach((id, index) => {
      const plain = this.state.has(`secret ${id}`)
        ? fernetDecrypt(this.#bytes(`secret ${id}`), tokens[index] as Uint8Array)
        : undefined
      const bytes = Buffer.from(plain ?? [])
      if (bytes.length < 20 || bytes.readBigUInt64LE(0) !== BigInt(id) || bytes.readBigUInt64LE(8) !== this.#nodeId)
        throw new RefusedInFlowerRoundError(`The shares of node ${id} are not what that node has encrypted.`)
      const end = 20 + bytes.readUInt32LE(16)
      this.#keepShares(id, Uint8Array.from(bytes.subarray(20, end)), Uint8Array.from(bytes.subarray(end)))
    })
    const result = await train()
    const masked = this.#masked(result, sources)
    return new RecordDict([...result.records, [flowerRecordKey, new ConfigRecord({ masked_params: masked })]])
  }

  /** The weight and the weighted arrays, as whole numbers with masks, each as an NPY file. */
  #masked({ arrays, examples }: FitResult, sources: readonly string[]): Uint8Array[] {
    const [range, target, modulus, maxWeight] = ['clipping_range', 'target_range', 'mod_range', 'max_weight'].map(
      (key) => this.state.getNumber(key),
    ) as [number, number, number, number]
    if (examples > maxWeight)
      throw new RefusedInFlowerRoundError(`${examples} examples are more than max_weight (${maxWeight}).`)
    const weight = Math.round((examples / maxWeight) * target)
    const parts = arrays.map((array, index) => quantized(String(index), array, weight / target, range, target))
    const numbers = [Float64Array.of(weight), ...parts]
    const lengths = numbers.map(({ length }) => length)
    const add = (secret: Uint8Array, sign: 1 | -1): void => {
      flowerMask(secret, modulus, lengths).forEach((mask, index) => {
        const part = numbers[index] as Float64Array
        for (let at = 0; at < part.length; at++) part[at] = (part[at] as number) + sign * (mask[at] as number)
      })
    }
    add(this.#bytes('seed'), 1)
    for (const id of sources)
      add(flowerSecret(this.#bytes('sk1'), this.#bytes(`pk1 ${id}`)), this.#nodeId > BigInt(id) ? 1 : -1)
    const shapes = [[1], ...arrays.map((array) => array.layout().shape)]
    return numbers.map((part, index) => {
      const whole = BigInt64Array.from(part, (value) => BigInt(value - Math.floor(value / modulus) * modulus))
      return NdArray.from(whole, shapes[index] as number[]).data
    })
  }

  #unmask(request: ConfigRecord): ConfigRecord {
    const [active, dead] = ['active_nids', 'dead_nids'].map((key) => list(request, key).map(String)) as [
      string[],
      string[],
    ]
    if (active.length < this.state.getNumber('threshold'))
      throw new RefusedInFlowerRoundError('Fewer nodes than the threshold are left.')
    if (active.some((id) => dead.includes(id)))
      throw new RefusedInFlowerRoundError('This node refuses to give both secrets of one node.')
    const shareOf = (kind: string, id: string): Uint8Array => {
      if (this.state.has(`${kind} ${id}`)) return this.#bytes(`${kind} ${id}`)
      throw new RefusedInFlowerRoundError(`This node has no share of node ${id}.`)
    }
    const shares = [...active.map((id) => shareOf('seed share', id)), ...dead.map((id) => shareOf('key share', id))]
    for (const key of [...this.state.keys()]) this.state.delete(key)
    return new ConfigRecord({ nids: [...active, ...dead].map(BigInt), shares })
  }

  #keepShares(id: string, seedShare: Uint8Array, keyShare: Uint8Array): void {
    this.state.set(`seed share ${id}`, seedShare).set(`key share ${id}`, keyShare)
  }

  #bytes(key: string): Uint8Array {
    return this.state.getBytes(key)
  }
}

/** Rounds up or down by chance. A value of 0 is in the middle of the range. */
function quantized(name: string, array: NdArray, share: number, range: number, target: number): Float64Array {
  const tensor = tensorOf(name, array)
  if (!isFloat(tensor.dtype))
    throw new RefusedInFlowerRoundError(`Array ${name} holds ${tensor.dtype}: SecAgg+ takes floats.`)
  return Float64Array.from(valuesIn(tensor, false) as Float64Array, (value) => {
    const scaled = (Math.max(-range, Math.min(range, value * share)) + range) * (target / (2 * range))
    return Math.floor(scaled + Math.random())
  })
}

function list(request: ConfigRecord, key: string): readonly unknown[] {
  const value = request.get(key)
  if (Array.isArray(value)) return value
  throw new RefusedInFlowerRoundError(`'${key}' is not a list.`)
}

/** Sender, receiver, the length of the first share, and both shares. */
function plainShares(from: bigint, to: bigint, seedShare: Uint8Array, keyShare: Uint8Array): Uint8Array {
  const head = Buffer.alloc(20)
  head.writeBigUInt64LE(from, 0)
  head.writeBigUInt64LE(to, 8)
  head.writeUInt32LE(seedShare.length, 16)
  return Buffer.concat([head, seedShare, keyShare])
}
