import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { HandshakeQueue } from './handshake-queue.ts'

function queueOf(turnMs: number): { queue: HandshakeQueue; started: string[]; add: (key: string) => EventEmitter } {
  const started: string[] = []
  const names = new Map<EventEmitter, string>()
  const start = (socket: Socket): void => void started.push(names.get(socket) ?? '')
  const queue = new HandshakeQueue({ atOnce: 2, turnMs, start })
  return {
    queue,
    started,
    add(key) {
      const socket = new EventEmitter()
      names.set(socket, key)
      queue.add(key, socket as Socket)
      return socket
    },
  }
}

test('handshakes begin a few at a time, in their order, and the next as soon as one is over', () => {
  const { queue, started, add } = queueOf(60_000)
  for (const key of ['a', 'b', 'c', 'd']) add(key)
  assert.deepEqual(started, ['a', 'b'])
  queue.end('b')
  assert.deepEqual(started, ['a', 'b', 'c'])
  // One that is over twice frees one place.
  queue.end('b')
  assert.deepEqual(started, ['a', 'b', 'c'])
  for (const key of ['a', 'c', 'd']) queue.end(key)
})

test('who hangs up while it waits is passed over, and who hangs up in a handshake makes room', () => {
  const { queue, started, add } = queueOf(60_000)
  const [first, , third] = ['a', 'b', 'c', 'd'].map(add)
  third?.emit('close')
  first?.emit('close')
  assert.deepEqual(started, ['a', 'b', 'd'])
  for (const key of ['b', 'd']) queue.end(key)
})

test('a slow handshake holds up the others for no longer than its turn', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { started, add } = queueOf(10)
  for (const key of ['a', 'b', 'c', 'd', 'e']) add(key)
  assert.deepEqual(started, ['a', 'b'])
  t.mock.timers.tick(9)
  assert.deepEqual(started, ['a', 'b'])
  t.mock.timers.tick(1)
  assert.deepEqual(started, ['a', 'b', 'c', 'd'])
  t.mock.timers.tick(10)
  assert.deepEqual(started, ['a', 'b', 'c', 'd', 'e'])
})
