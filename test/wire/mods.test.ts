import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import type { Context } from '../../src/message/context.ts'
import { Message } from '../../src/message/message.ts'
import type { Mod } from '../../src/sdk/client-app.ts'
import { adaptiveClipping, fixedClipping } from '../../src/sdk/mods/clipping-mods.ts'
import { localDp } from '../../src/sdk/mods/local-dp.ts'
import { arraysSize, messageSize } from '../../src/sdk/mods/size-mods.ts'
import { recordedNoise, recordsBits } from './run-bits.ts'
import { buildRecords, type DescribedRecords, readVectors } from './vectors.ts'

/** The mods as Flower's Python package has them, recorded by `make-vectors.py`. */
interface ModCase {
  readonly name: string
  readonly mod: string
  readonly options: Readonly<Record<'clipping_norm' | 'sensitivity' | 'epsilon' | 'delta', number>> | null
  readonly message: DescribedRecords
  readonly reply: { readonly records?: DescribedRecords; readonly error?: string }
  readonly records?: DescribedRecords
  readonly error?: { readonly code: number; readonly reason: string }
  readonly lines: readonly (readonly [string, string])[]
}

const mods: Readonly<Record<string, (options: ModCase['options']) => Mod>> = {
  fixedclipping_mod: () => fixedClipping,
  adaptiveclipping_mod: () => adaptiveClipping,
  message_size_mod: () => messageSize,
  arrays_size_mod: () => arraysSize,
  LocalDpMod: (options) => {
    const { clipping_norm: clippingNorm, ...rest } = options as NonNullable<ModCase['options']>
    return localDp({ clippingNorm, ...rest, gaussian: recordedNoise() })
  },
}

for (const vector of readVectors<ModCase>('mods.jsonl'))
  test(`the reply and the log lines are Python’s: ${vector.name}`, async () => {
    const message = Message.create({
      content: buildRecords(vector.message),
      messageType: 'train',
      dstNodeId: 5n,
    })
    const app = (asked: Message): Message =>
      vector.reply.records
        ? asked.reply(buildRecords(vector.reply.records))
        : asked.replyError({ code: 2, reason: vector.reply.error as string })
    const lines: string[] = []
    const write = mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
    const reply = await (mods[vector.mod] as (typeof mods)[string])(vector.options)(message, {} as Context, app)
    write.mock.restore()
    assert.equal(reply.metadata.srcNodeId, 5n)
    assert.deepEqual(reply.error, vector.error)
    if (vector.records) assert.deepEqual(recordsBits(reply.content), recordsBits(buildRecords(vector.records)))
    assert.deepEqual(
      lines,
      vector.lines.map(([level, text]) => `${level} :${' '.repeat(10 - level.length)}${text}\n`),
    )
  })

test('messages other than train pass, also without a norm', async () => {
  const message = Message.create({ content: buildRecords([]), messageType: 'evaluate', dstNodeId: 5n })
  const reply = await fixedClipping(message, {} as Context, (asked) => asked.reply(buildRecords([])))
  assert.equal(reply.error, undefined)
})
