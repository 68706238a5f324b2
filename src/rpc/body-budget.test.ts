import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { limits } from '../base/limits.ts'
import { BodyBudget, type BodyBudgetBounds, networkOf } from './body-budget.ts'
import type { ByteRoom } from './byte-shares.ts'
import type { Connection } from './call.ts'

const from = (host: string): Connection =>
  ({ peer: { kind: 'anonymous' }, remoteAddress: `${host}:1234` }) as unknown as Connection
const bounds = { bodiesBytesMax: 240, bodiesPerPeerBytesMax: 60, bodyRoomMs: 1000, responseRoomMs: 1000 }
/** A budget of which the requests are looked at. */
function budgetOf(of: BodyBudgetBounds = bounds) {
  const budget = new BodyBudget(of)
  return {
    open: (connection: Connection): ByteRoom => budget.open(connection).request,
    get bytesTaken() {
      return budget.requests.bytesTaken
    },
  }
}
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('bodies take room as they arrive and give all of it back, once', () => {
  const budget = budgetOf()
  const room = budget.open(from('10.0.0.1'))
  assert.equal(room.take(40), undefined)
  assert.equal(room.take(20), undefined)
  assert.equal(budget.bytesTaken, 60)
  room.release()
  room.release()
  room.give(20)
  assert.equal(budget.bytesTaken, 0)
  assert.equal(room.take(10), undefined)
  assert.equal(budget.bytesTaken, 0)
})

test('a body beyond the share of its peer waits until another one of that peer is gone; other peers do not notice', async () => {
  const budget = budgetOf()
  const [first, second] = [budget.open(from('10.0.0.1')), budget.open(from('10.0.0.1'))]
  assert.equal(first.take(50), undefined)
  const waiting = second.take(20)
  assert.ok(waiting)
  assert.equal(budget.open(from('10.0.0.2')).take(30), undefined)
  first.release()
  await waiting
  assert.equal(budget.bytesTaken, 50)
  second.release()
})

test('a body that finds no room in time is refused: for what its peer sends, or because all peers send too much', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const budget = budgetOf()
    const own = budget.open(from('10.0.0.1'))
    assert.equal(own.take(60), undefined)
    const refused = assert.rejects(budget.open(from('10.0.0.1')).take(1) as Promise<void>, {
      code: 'too-many-bytes',
      message: 'Requests of 10.0.0.1 of more than 60 bytes are being received: send fewer at the same time.',
    })
    mock.timers.tick(1000)
    await refused
    for (const [host, bytes] of [
      ['10.0.0.2', 60],
      ['10.0.0.3', 60],
      ['10.0.0.4', 30],
      ['10.0.0.5', 15],
    ] as const)
      assert.equal(budget.open(from(host)).take(bytes), undefined, host)
    const crowded = assert.rejects(budget.open(from('10.0.0.6')).take(8) as Promise<void>, {
      code: 'crowded',
      message: /fill most of the 240 bytes that they may take: try again/,
    })
    mock.timers.tick(1000)
    await crowded
    assert.equal(budget.bytesTaken, 225)
  } finally {
    mock.timers.reset()
  }
})

test('peers that fill their shares leave room for one more, whose share shrinks with what is left', () => {
  const budget = budgetOf(limits)
  const MiB = 1024 * 1024
  for (const [host, share] of [128, 128, 128, 64, 32, 16].entries()) {
    const room = budget.open(from(`10.0.0.${host}`))
    assert.equal(room.take(share * MiB), undefined, `peer ${host}`)
  }
  assert.equal(budget.bytesTaken, 496 * MiB)
})

test('a body that is given up while it waits takes nothing', async () => {
  const budget = budgetOf()
  const [first, second] = [budget.open(from('10.0.0.1')), budget.open(from('10.0.0.1'))]
  assert.equal(first.take(60), undefined)
  const waiting = second.take(30)
  second.release()
  first.release()
  await waiting
  await settle()
  assert.equal(budget.bytesTaken, 0)
})

test('room that comes free for a body that was given up goes to the next one at once', async () => {
  const budget = budgetOf()
  const [first, second, third] = ['a', 'b', 'c'].map(() => budget.open(from('10.0.0.1')))
  assert.equal(first?.take(60), undefined)
  void second?.take(30)
  const waiting = third?.take(40)
  second?.release()
  first?.release()
  await waiting
  assert.equal(budget.bytesTaken, 40)
  third?.release()
})

test('addresses share by network: one IPv4 address, 64 bits of IPv6', () => {
  assert.equal(networkOf('192.0.2.7'), '192.0.2.7')
  assert.equal(networkOf('::ffff:192.0.2.7'), '192.0.2.7')
  assert.equal(networkOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
  assert.equal(networkOf('2001:db8:1:2::9'), '2001:db8:1:2::/64')
  assert.equal(networkOf('::1'), '0:0:0:0::/64')
})
