import assert from 'node:assert/strict'
import { test } from 'node:test'
import { superlinkNodeId } from '../../base/ids.ts'
import type { Metadata } from '../../message/message.ts'
import { objectTree } from '../../objects/object-tree.ts'
import { findFault } from './validate.ts'

const now = Date.parse('2026-11-24T12:00:00Z')
const id = 'a'.repeat(64)
const instruction: Metadata = {
  runId: 1n,
  messageId: id,
  srcNodeId: superlinkNodeId,
  dstNodeId: 7n,
  replyToMessageId: '',
  groupId: '',
  ttl: 60,
  messageType: 'train.personalise',
  createdAt: now / 1000,
}
const reply: Metadata = { ...instruction, srcNodeId: 7n, dstNodeId: superlinkNodeId, replyToMessageId: 'b'.repeat(64) }

test('instructions and replies as Flower makes them are in order', () => {
  assert.equal(findFault('instruction', instruction, objectTree(id), now), undefined)
  assert.equal(findFault('reply', reply, objectTree(id), now), undefined)
})

const faults: readonly (readonly [string, 'instruction' | 'reply', Partial<Metadata>, RegExp])[] = [
  ['no id', 'instruction', { messageId: '' }, /no message id/],
  ['an id that is not its root', 'instruction', { messageId: 'c'.repeat(64) }, /not the root/],
  ['a date before Flower', 'instruction', { createdAt: 1_700_000_000 }, /too early/],
  ['a date that is no number', 'instruction', { createdAt: Number.NaN }, /too early/],
  ['no time to live', 'instruction', { ttl: 0 }, /not positive/],
  ['a time to live that is no number', 'instruction', { ttl: Number.NaN }, /not positive/],
  ['a life that is over', 'instruction', { createdAt: now / 1000 - 60 }, /has expired/],
  ['an unknown type', 'instruction', { messageType: 'learn' }, /unknown message type 'learn'/],
  ['another sender than the SuperLink', 'instruction', { srcNodeId: 9n }, /not at one end/],
  ['the SuperLink as its receiver', 'instruction', { dstNodeId: superlinkNodeId }, /no SuperNode/],
  ['no receiver', 'instruction', { dstNodeId: 0n }, /no SuperNode/],
  ['a message to which it replies', 'instruction', { replyToMessageId: id }, /replies to nothing/],
  ['another receiver than the SuperLink', 'reply', { dstNodeId: 9n }, /not at one end/],
  ['no sender', 'reply', { srcNodeId: 0n }, /no SuperNode/],
  ['no question', 'reply', { replyToMessageId: '' }, /a reply to nothing/],
]

for (const [what, kind, fields, sentence] of faults) {
  test(`a message with ${what} is refused (${kind})`, () => {
    const metadata = { ...(kind === 'instruction' ? instruction : reply), ...fields }
    assert.match(findFault(kind, metadata, objectTree(id), now) ?? '', sentence)
  })
}

test('an unknown type is quoted, but not at any length', () => {
  const fault = findFault('instruction', { ...instruction, messageType: 'x'.repeat(10_000) }, objectTree(id), now)
  assert.ok((fault?.length ?? 0) < 100)
})
