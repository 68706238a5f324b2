import type { Message } from '../../message/message.ts'
import { pythonString } from '../../message/python-text.ts'
import { type AnyRecord, ArrayRecord } from '../../message/records.ts'
import type { Mod } from '../client-app.ts'
import { log } from '../log.ts'

/**
 * Logs how many bytes the values and names of each message and of its reply take, as Flower's `message_size_mod`.
 *
 * @example
 * new ClientApp({ mods: [messageSize] }).train(train)
 */
export const messageSize: Mod = async (message, context, next) => {
  log.info(`Incoming message size: ${sizeOf(message)} bytes`)
  const reply = await next(message, context)
  if (reply.hasContent()) log.info(`Outgoing message size: ${sizeOf(reply)} bytes`)
  return reply
}

/**
 * Logs how many numbers the arrays of each message and of its reply hold, and their bytes, as Flower's `arrays_size_mod`.
 *
 * @example
 * new ClientApp({ mods: [arraysSize] }).train(train)
 */
export const arraysSize: Mod = async (message, context, next) => {
  logArrays(message, 'Incoming', 'received')
  const reply = await next(message, context)
  if (reply.hasContent()) logArrays(reply, 'Outgoing', 'sent')
  return reply
}

function logArrays(message: Message, direction: string, verb: string): void {
  const sizes = [...message.content.arrayRecords].map(([name, record]) => ({
    name,
    elements: [...record.values()].reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0),
    bytes: bytesOf(record),
  }))
  if (sizes.length > 0) {
    log.info(`${direction} \`ArrayRecord\` size statistics:`)
    const parts = sizes.map(
      ({ name, elements, bytes }) => `${pythonString(name)}: {'elements': ${elements}, 'bytes': ${bytes}}`,
    )
    log.info(`{${parts.join(', ')}}`)
  }
  const total = sizes.reduce((sum, { bytes }) => sum + bytes, 0)
  log.info(`Total array elements ${verb}: ${total} bytes`)
}

function sizeOf(message: Message): number {
  return [...message.content.values()].reduce((sum, record) => sum + bytesOf(record), 0)
}

/** Values and their names; numbers take eight bytes. */
function bytesOf(record: AnyRecord): number {
  const names = [...record.keys()].reduce((sum, name) => sum + [...name].length, 0)
  if (record instanceof ArrayRecord) return names + record.byteLength()
  return [...record].reduce(
    (sum, [, value]) => sum + (Array.isArray(value) ? listBytes(value) : valueBytes(value)),
    names,
  )
}

function listBytes(values: readonly unknown[]): number {
  return values.reduce<number>((sum, value) => sum + valueBytes(value), 0)
}

function valueBytes(value: unknown): number {
  if (typeof value === 'boolean') return 1
  if (typeof value === 'string') return [...value].length
  return value instanceof Uint8Array ? value.length : 8
}
