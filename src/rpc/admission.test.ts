import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { limits } from '../base/limits.ts'
import { Admission, stateBounds } from './admission.ts'

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string
  destroyed = false

  constructor(remoteAddress: string) {
    super()
    this.remoteAddress = remoteAddress
  }

  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.emit('close')
  }
}

/** An admission of two handshakes at once, in a time that the test advances. */
function admissionOf(t: TestContext, { handshaking = 64, waiting = 1024 } = {}) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  const [started, crowd, turnedAway]: string[][] = [[], [], []]
  const names = new Map<unknown, string>()
  const afterReading: (() => void)[] = []
  const nameOf = (socket: Socket): string => names.get(socket) ?? ''
  const admission = new Admission({
    ...{ atOnce: 2, turnMs: 10, now: () => now, afterReading: (action) => void afterReading.push(action) },
    start: (socket) => void started?.push(nameOf(socket)),
    onCrowd: (socket, isTurnedAway) => void crowd?.push(`${nameOf(socket)} ${isTurnedAway ? 'closed' : 'waits'}`),
    turnAway: (socket) => {
      turnedAway?.push(nameOf(socket))
      socket.destroy()
    },
    bounds: {
      ...stateBounds,
      handshaking: { ...stateBounds.handshaking, max: handshaking },
      waiting: { ...stateBounds.waiting, max: waiting },
    },
  })
  return {
    ...{ admission, started: started as string[], crowd: crowd as string[], turnedAway: turnedAway as string[] },
    add(key: string, from = '10.0.0.1'): FakeSocket {
      const socket = new FakeSocket(from)
      names.set(socket, key)
      admission.arrive(key, socket as unknown as Socket)
      return socket
    },
    /** Time passes, then the sockets are read. */
    pass(ms: number, read: () => void = () => {}): void {
      now += ms
      t.mock.timers.tick(ms)
      read()
      for (const action of afterReading.splice(0)) action()
    },
  }
}

test('handshakes begin a few at a time, in their order, and the next as soon as one is over', (t) => {
  const { admission, started, add } = admissionOf(t)
  for (const key of ['a', 'b', 'c', 'd']) add(key)
  assert.deepEqual(started, ['a', 'b'])
  admission.endTurn('b')
  assert.deepEqual(started, ['a', 'b', 'c'])
  // A turn that ends twice frees one place.
  admission.endTurn('b')
  assert.deepEqual(started, ['a', 'b', 'c'])
})

test('a connection that closes while it waits is passed over, and one that closes in its handshake makes room', (t) => {
  const { started, add } = admissionOf(t)
  const [first, , third] = ['a', 'b', 'c', 'd'].map((key) => add(key))
  third?.destroy()
  first?.destroy()
  assert.deepEqual(started, ['a', 'b', 'd'])
})

test('a slow handshake holds up the others for no longer than its turn', (t) => {
  const { started, add, pass } = admissionOf(t)
  for (const key of ['a', 'b', 'c', 'd', 'e']) add(key)
  pass(9)
  assert.deepEqual(started, ['a', 'b'])
  pass(1)
  assert.deepEqual(started, ['a', 'b', 'c', 'd'])
  pass(10)
  assert.deepEqual(started, ['a', 'b', 'c', 'd', 'e'])
})

test('a crowd waits in a line of bounded length, and the rest is turned away at once', (t) => {
  const { admission, crowd, turnedAway, add, pass } = admissionOf(t, { handshaking: 2, waiting: 3 })
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) add(key)
  pass(10)
  assert.deepEqual([...new Set(crowd)], ['f closed', 'c waits'])
  assert.deepEqual(turnedAway, ['f'])
  assert.deepEqual([admission.count('handshaking'), admission.count('waiting')], [2, 3])
})

test('the oldest handshake gives way to the line after its time, and no connection waits for ever', (t) => {
  const { started, turnedAway, add, pass } = admissionOf(t, { handshaking: 2 })
  const sockets = ['a', 'b', 'c', 'd', 'e'].map((key) => add(key))
  pass(limits.handshakeMs - 1)
  assert.deepEqual(started, ['a', 'b'])
  pass(1)
  assert.deepEqual(started, ['a', 'b', 'c', 'd'])
  assert.deepEqual(
    sockets.map(({ destroyed }) => destroyed),
    [true, true, false, false, false],
  )
  pass(limits.handshakeMs)
  assert.deepEqual(started, ['a', 'b', 'c', 'd', 'e'])
  assert.deepEqual(turnedAway, [])
})

test('a handshake that was completed while the program was busy is read before its time counts', (t) => {
  const { admission, started, add, pass } = admissionOf(t, { handshaking: 2 })
  const [first, second] = ['a', 'b', 'c', 'd'].map((key) => add(key))
  pass(limits.handshakeMs, () => admission.move('a', 'admitted'))
  assert.deepEqual([first?.destroyed, second?.destroyed], [false, true])
  assert.deepEqual(started, ['a', 'b', 'c', 'd'])
})

test('a handshake that was completed while the program was busy is not closed at the end of its life', (t) => {
  const { admission, add, pass } = admissionOf(t)
  const [first, second] = ['a', 'b'].map((key) => add(key))
  pass(limits.unjudgedConnectionMs, () => admission.move('a', 'admitted'))
  assert.deepEqual([first?.destroyed, second?.destroyed], [false, true])
})

test('a connection that waits for too long is turned away', (t) => {
  const { turnedAway, add, pass } = admissionOf(t, { handshaking: 0 })
  const waiting = add('a')
  pass(limits.waitingConnectionMs - 1)
  assert.deepEqual(turnedAway, [])
  pass(1)
  assert.deepEqual([turnedAway, waiting.destroyed], [['a'], true])
})

test('a connection whose handshake does not end is closed', (t) => {
  const { admission, add, pass } = admissionOf(t)
  const socket = add('a')
  pass(limits.unjudgedConnectionMs - 1)
  assert.equal(socket.destroyed, false)
  pass(1)
  assert.equal(socket.destroyed, true)
  assert.equal(admission.count('handshaking'), 0)
})

test('addresses take turns: a crowd from one does not hold up the others', (t) => {
  const { admission, started, add } = admissionOf(t)
  for (let count = 0; count < 10; count++) add(`crowd-${count}`)
  add('good', '10.0.0.2')
  admission.endTurn('crowd-0')
  admission.endTurn('crowd-1')
  assert.deepEqual(started, ['crowd-0', 'crowd-1', 'crowd-2', 'good'])
})

test('a connection moves on in the order of its life, while there is a place in the next state', (t) => {
  const { admission, add, pass } = admissionOf(t)
  const refused = add('a')
  add('b')
  assert.equal(admission.move('a', 'learning'), true)
  assert.equal(admission.move('a', 'refused'), true)
  assert.throws(() => admission.move('a', 'admitted'), /A refused connection cannot become admitted/)
  assert.equal(admission.move('b', 'admitted'), true)
  assert.equal(admission.move('gone', 'admitted'), false)
  pass(limits.refusedConnectionMs)
  assert.equal(refused.destroyed, true)
  assert.deepEqual([admission.count('refused'), admission.count('admitted')], [0, 1])
})

test('a connection takes the place of the one before it with the same endpoints, which is closed', (t) => {
  const { admission, started, turnedAway, add } = admissionOf(t, { waiting: 2 })
  const [first, , third] = ['a', 'b', 'c', 'd'].map((key) => add(key))
  const next = add('c')
  assert.deepEqual([third?.destroyed, next.destroyed, turnedAway], [true, false, []])
  add('a')
  assert.equal(first?.destroyed, true)
  assert.deepEqual(started, ['a', 'b', 'd'])
  admission.endTurn('b')
  assert.deepEqual(started, ['a', 'b', 'd', 'c'])
  assert.equal(admission.move('c', 'admitted'), true)
  assert.deepEqual([admission.count('handshaking'), admission.count('waiting')], [2, 1])
})
