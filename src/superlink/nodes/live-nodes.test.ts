import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NodeId } from '../../base/ids.ts'
import type { Connection } from '../../rpc/call.ts'
import { LiveNodes, processOf, releaseOf } from './live-nodes.ts'

const node = 7n as NodeId

function connection(): Connection & { end(): void } {
  const controller = new AbortController()
  return {
    ...{ id: 1, remoteAddress: '127.0.0.1:1', secure: true, peer: { kind: 'anonymous' } },
    ...{ closed: controller.signal, cutOff: new AbortController().signal, bytesSent: 0 },
    close() {},
    end: () => controller.abort(),
  }
}

test('a node is taken while another connection speaks for it, and free when that connection is gone', () => {
  const live = new LiveNodes()
  const first = connection()
  live.note(node, { connection: first, process: undefined })
  assert.equal(live.isTaken(node, { connection: first, process: undefined }), false)
  assert.equal(live.isTaken(node, { connection: connection(), process: undefined }), true)
  first.end()
  assert.equal(live.isTaken(node, { connection: connection(), process: undefined }), false)
})

test('a process may have several connections and is there until the last is gone', () => {
  const live = new LiveNodes()
  const [one, two] = [connection(), connection()]
  live.note(node, { connection: one, process: 'a' })
  live.note(node, { connection: two, process: 'a' })
  const other = { connection: connection(), process: 'b' }
  one.end()
  assert.equal(live.isTaken(node, other), true)
  assert.equal(live.isAnotherProcess(node, other), true)
  assert.equal(live.isTaken(node, { connection: connection(), process: 'a' }), false, 'the same process reconnects')
  two.end()
  assert.equal(live.isTaken(node, other), false)
  assert.equal(live.isAnotherProcess(node, other), false)
})

test('a SuperNode that does not name its process cannot be told from one that reconnects', () => {
  const live = new LiveNodes()
  live.note(node, { connection: connection(), process: 'a' })
  assert.equal(live.isAnotherProcess(node, { connection: connection(), process: undefined }), false)
})

test('the end of an old connection takes nothing from its successor', () => {
  const live = new LiveNodes()
  const [old, next] = [connection(), connection()]
  live.note(node, { connection: old, process: 'a' })
  live.note(node, { connection: next, process: 'b' })
  old.end()
  assert.equal(live.isTaken(node, { connection: connection(), process: 'c' }), true)
})

test('a connection that speaks for one node after another remembers none that it has left', () => {
  const live = new LiveNodes()
  const [one, other] = [connection(), connection()]
  for (let id = 1n; id <= 1000n; id++) {
    live.note(id as NodeId, { connection: one, process: 'a' })
    if (id % 2n === 0n) live.forget(id as NodeId)
    else live.note(id as NodeId, { connection: other, process: 'b' })
  }
  assert.deepEqual([live.countOf(one), live.countOf(other)], [0, 500])
  other.end()
  assert.equal(live.isTaken(1n as NodeId, { connection: one, process: 'c' }), false)
})

test('the name of a process is short and plain, or none', () => {
  assert.equal(processOf(['abc-1']), 'abc-1')
  for (const values of [[], [''], ['a b'], ['x'.repeat(65)], ['a', 'b']]) assert.equal(processOf(values), undefined)
})

test('the release of a program is told by its headers, and nonsense is not shown', () => {
  const headersOf = (headers: Readonly<Record<string, string>>) => (name: string) =>
    headers[name] === undefined ? [] : [headers[name]]
  const flower = { 'flwr-package-version': '1.41.0' }
  assert.equal(releaseOf(headersOf(flower)), 'Flower 1.41.0')
  assert.equal(releaseOf(headersOf({ ...flower, 'trellis-release': '0.1.0' })), 'Trellis 0.1.0')
  assert.equal(releaseOf(headersOf({ 'flwr-package-version': '<b>\u001b[2J' })), undefined)
  assert.equal(releaseOf(headersOf({})), undefined)
})
