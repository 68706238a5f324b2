import type { Context } from '../../message/context.ts'
import type { Message } from '../../message/message.ts'
import type { NdArray } from '../../message/nd-array.ts'
import { ArrayRecord } from '../../message/records.ts'
import { minus, plus, scaled } from '../arithmetic/elementwise.ts'
import { arrayOf, floatType, newValues, tensorOf } from '../arithmetic/tensor.ts'

/** The record in which the server sends its control variate. */
export const controlKey = 'scaffold-control'
/** Before the name of an array: the change of the node's control variate for it. */
export const deltaPrefix = 'scaffold-delta/'
/** Where a node keeps its control variate, in the state of its context. */
const stateKey = 'trellis-scaffold-control'

/**
 * The side of a node in {@link Scaffold}: gives the correction that is added to each gradient, and makes the arrays of the
 * reply. Its control variate is kept in the state of the context, and follows option II of the paper.
 *
 * @example
 * const node = new ScaffoldNode(message, context, 'arrays')
 * const correction = node.correction('weights').values('float32')
 * for (let step = 0; step < steps; step++) weights[i] -= lr * (gradient[i] + correction[i])
 * return message.reply(new RecordDict({ arrays: node.reply(trained, { steps, learningRate: lr }), metrics }))
 */
export class ScaffoldNode {
  readonly #model: ArrayRecord
  readonly #server: ArrayRecord
  readonly #nodeControl: ArrayRecord
  readonly #context: Context

  /** `arrayrecordKey` names the record that holds the model. */
  constructor(message: Message, context: Context, arrayrecordKey = 'arrays') {
    this.#model = message.content.arrays(arrayrecordKey)
    this.#server = message.content.arrays(controlKey)
    this.#nodeControl = context.state.arrayRecords.get(stateKey) ?? zerosOf(this.#model)
    this.#context = context
  }

  /** The server's control variate minus the node's: to be added to each gradient of that array. */
  correction(name: string): NdArray {
    return arrayOf(minus(tensorOf(name, this.#server.getArray(name)), tensorOf(name, this.#nodeControl.getArray(name))))
  }

  /** The arrays of the reply, for a model after that many steps. Remembers the node's new control variate. */
  reply(trained: ArrayRecord, { steps, learningRate }: { steps: number; learningRate: number }): ArrayRecord {
    const nextControl = new ArrayRecord()
    const deltas: [string, NdArray][] = []
    for (const [name, array] of this.#model) {
      const moved = minus(tensorOf(name, array), tensorOf(name, trained.getArray(name)))
      // c_i - c + (x - y) / (K lr)
      const delta = plus(
        scaled(tensorOf(name, this.#server.getArray(name)), -1),
        scaled(moved, 1 / (steps * learningRate)),
      )
      nextControl.set(name, arrayOf(plus(tensorOf(name, this.#nodeControl.getArray(name)), delta)))
      deltas.push([deltaPrefix + name, arrayOf(delta)])
    }
    this.#context.state.set(stateKey, nextControl)
    return new ArrayRecord([...trained, ...deltas])
  }
}

/** Zeros of the shapes of a model; whole numbers become float64. */
export function zerosOf(model: ArrayRecord): ArrayRecord {
  return new ArrayRecord(
    [...model].map(([name, array]) => {
      const { dtype, shape, fortranOrder, values } = tensorOf(name, array)
      const type = floatType(dtype)
      return [name, arrayOf({ dtype: type, shape, fortranOrder, values: newValues(type, values.length) })] as const
    }),
  )
}
