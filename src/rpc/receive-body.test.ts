import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { mock, test } from 'node:test'
import { limits } from '../base/limits.ts'
import { receiveChunks } from './receive-body.ts'

const room = { take: () => undefined, release: () => {} }
const pace = { bodyWindowMs: 1000, bodyMsMax: 60_000 }

test('bytes that had arrived when a window ended late count, and a window without bytes ends the body', async () => {
  mock.timers.enable({ apis: ['setInterval'] })
  try {
    const source = new PassThrough()
    const received = receiveChunks(source, room as never, pace, () => 'more')
    // As after a stall: the timer fires first, and the sockets are read after that.
    mock.timers.tick(1000)
    source.write(Buffer.alloc(limits.bodyBytesPerWindowMin))
    await new Promise((resolve) => setImmediate(resolve))
    source.end()
    await received
    const slow = receiveChunks(new PassThrough(), room as never, pace, () => 'more')
    mock.timers.tick(1000)
    await assert.rejects(slow, /The body came too slowly/)
  } finally {
    mock.timers.reset()
  }
})

test('the last chunk of a body is taken to its end, whether it waits for room or for its taker', async () => {
  const gates: (() => void)[] = []
  const gate = (): Promise<void> => new Promise((resolve) => gates.push(resolve))
  const settled = () => new Promise((resolve) => setImmediate(resolve))
  for (const [name, waitingRoom, take] of [
    ['room', { ...room, take: gate }, () => 'more' as const],
    ['taker', room, () => gate().then(() => 'more' as const)],
  ] as const) {
    const source = new PassThrough()
    const taken: string[] = []
    let isReceived = false
    const received = receiveChunks(source, waitingRoom as never, pace, (chunk) => {
      taken.push(chunk.toString())
      return take()
    }).then(() => {
      isReceived = true
    })
    source.end('all of it')
    await settled()
    await settled()
    assert.equal(isReceived, false, name)
    gates.shift()?.()
    await received
    assert.deepEqual(taken, ['all of it'], name)
  }
})
