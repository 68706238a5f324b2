import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { FakeClock, letPass } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { limits } from './limits.ts'
import { StorageRoom } from './storage-room.ts'

const MiB = 1024 * 1024

function setUp(free: () => number) {
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  const asked: number[] = []
  const changes: boolean[] = []
  const room: StorageRoom = new StorageRoom({
    ...{ clock, log },
    onChange: () => changes.push(room.isFull),
    hasRoom: async (_folder, bytes) => {
      asked.push(bytes)
      return bytes <= free()
    },
  })
  return { clock, lines, asked, changes, room, stop: new AbortController() }
}

test('work goes on when the largest write that failed would fit', async () => {
  let free = 0
  const { clock, asked, changes, room, stop } = setUp(() => free)
  const watch = room.watch(async () => {}, stop.signal)
  room.noteFull('/data', 3 * MiB)
  room.noteFull('/data', 2 * MiB)
  await letPass(clock, 'a try', () => asked.length > 0)
  free = 2 * MiB
  await letPass(clock, 'a try', () => asked.length > 2)
  assert.equal(room.isFull, true)
  free = 3 * MiB
  await letPass(clock, 'the end', () => !room.isFull)
  assert.deepEqual([new Set(asked), changes], [new Set([3 * MiB]), [true, false]])
  stop.abort()
  await watch
})

test('a disk that is full again at once needs twice the room each time, up to a limit', async () => {
  const { clock, asked, room, stop } = setUp(() => Number.POSITIVE_INFINITY)
  const watch = room.watch(async () => {}, stop.signal)
  for (let times = 0; times < 12; times++) {
    room.noteFull('/data')
    await letPass(clock, 'the end', () => !room.isFull)
  }
  assert.deepEqual(
    asked.slice(0, 4),
    [1, 2, 4, 8].map((count) => count * MiB),
  )
  assert.equal(asked.at(-1), limits.roomProbeBytesMax)
  clock.advance(limits.roomRelapseMs)
  room.noteFull('/data')
  await letPass(clock, 'the end', () => !room.isFull)
  assert.equal(asked.at(-1), limits.roomProbeBytes)
  stop.abort()
  await watch
})

test('leases are judged by the instant at which the disk became full, until they could be prolonged', async () => {
  const { clock, room, stop } = setUp(() => Number.POSITIVE_INFINITY)
  let refusals = 2
  const watch = room.watch(async () => {
    if (refusals-- > 0) throw new Error('full again')
  }, stop.signal)
  const since = clock.now()
  room.noteFull('/data')
  clock.advance(1000)
  assert.equal(room.leaseNow(), since)
  await letPass(clock, 'the end', () => !room.isFull)
  assert.ok(clock.now() - since >= 3 * limits.roomProbeEveryMs)
  assert.equal(room.leaseNow(), clock.now())
  stop.abort()
  await watch
})

test('a real folder has room for a little, and not for more than its disk holds', async () => {
  using home = temporaryDirectory()
  for (const [bytes, ends] of [
    [1, true],
    [Number.MAX_SAFE_INTEGER, false],
  ] as const) {
    const clock = new FakeClock()
    const stop = new AbortController()
    const sleep = mock.method(clock, 'sleep')
    const { log } = recordingLogger()
    const room = new StorageRoom({ clock, log })
    const watch = room.watch(async () => {}, stop.signal)
    room.noteFull(home.path, bytes)
    // A try ends before the next pause begins.
    await letPass(clock, 'the end, or three tries', () => !room.isFull || (!ends && sleep.mock.callCount() > 3))
    assert.equal(!room.isFull, ends)
    stop.abort()
    await watch
  }
})
