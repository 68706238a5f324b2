import { UsageError } from '../../base/errors.ts'
import { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord } from '../../message/records.ts'
import type { Mod } from '../client-app.ts'
import { changeOf, quantized, sparse } from '../compression/compressed-array.ts'
import { checkedNumber } from '../strategy/option-checks.ts'
import { trainMod, withRecords } from './mod-reply.ts'

/** Options of {@link quantize}. */
export interface QuantizeOptions {
  /** Binary digits of each value, 8 or 16; by default 8. */
  readonly bits?: 8 | 16
  /** @internal Uniform from 0 up to 1; for tests. */
  readonly random?: () => number
}

/**
 * Sends the update of a node in 8 or 16 bits for each value, rounded by chance so that the mean of many nodes stays right
 * (Alistarh et al., "QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding", 2017). The ServerApp needs
 * {@link CompressedUpdates}. Of the mods that change arrays it must be the first, so that it sees the reply last.
 *
 * @example
 * new ClientApp({ mods: [quantize({ bits: 8 })] }).train(train)
 */
export function quantize({ bits = 8, random = Math.random }: QuantizeOptions = {}): Mod {
  if (bits !== 8 && bits !== 16) throw new UsageError(`quantize: bits must be 8 or 16, not ${bits}.`)
  return trainMod('quantize', async (call) => {
    const { reply, arrays } = await call.train()
    if (!arrays) return reply
    const compressed = [...arrays].map(([name, array]): [string, NdArray] => {
      const model = call.model.getArray(name)
      const change = changeOf(name, model, array)
      return [name, change ? quantized(model, change, bits, random) : array]
    })
    return withRecords(reply, new Map([[arrays, new ArrayRecord(compressed)]]))
  })
}

/** Options of {@link topK}. */
export interface TopKOptions {
  /** The part of the values of each array that is sent, above 0; at least one value. */
  readonly fraction: number
  /** @internal Whether what was not sent is added to the next update; for tests. */
  readonly errorFeedback?: boolean
}

/** Where a node keeps what it has not sent yet, in the state of its context. */
const errorKey = 'trellis-top-k-error'

/**
 * Sends only the largest changes of each array, and adds the others to the next update of the node (Stich et al., "Sparsified
 * SGD with Memory", 2018; Karimireddy et al., "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", 2019).
 * The ServerApp needs {@link CompressedUpdates}. Of the mods that change arrays it must be the first.
 *
 * @example
 * new ClientApp({ mods: [topK({ fraction: 0.01 })] }).train(train)
 */
export function topK(options: TopKOptions): Mod {
  const fraction = checkedNumber('topK', 'fraction', options.fraction, { above: 0, atMost: 1 })
  const { errorFeedback = true } = options
  return async (message, context, next) => {
    const kept = (errorFeedback && context.state.arrayRecords.get(errorKey)) || new ArrayRecord()
    const errors = new ArrayRecord()
    const mod = trainMod('topK', async (call) => {
      const { reply, arrays } = await call.train()
      if (!arrays) return reply
      const compressed = [...arrays].map(([name, array]): [string, NdArray] => {
        const model = call.model.getArray(name)
        const change = changeOf(name, model, array)
        if (!change) return [name, array]
        const unsent = kept.get(name)?.values('float64')
        if (unsent?.length === change.length)
          for (let index = 0; index < change.length; index++)
            change[index] = (change[index] as number) + (unsent[index] as number)
        const count = Math.min(change.length, Math.max(1, Math.round(fraction * change.length)))
        const { array: sent, rest } = sparse(model, change, count)
        errors.set(name, NdArray.from(rest, array.shape))
        return [name, sent]
      })
      context.state.set(errorKey, errors)
      return withRecords(reply, new Map([[arrays, new ArrayRecord(compressed)]]))
    })
    return mod(message, context, next)
  }
}
