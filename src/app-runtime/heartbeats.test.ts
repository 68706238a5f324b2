import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskApi } from '../app-api/task-api.ts'
import { startHeartbeats } from './heartbeats.ts'

type Beat = { success: boolean; waited: boolean } | Error

/** A server that gives these responses, one after the other, and then holds the call. */
function beating(...beats: Beat[]) {
  let count = 0
  let ends = 0
  const api = {
    async sendHeartbeat() {
      count += 1
      const beat = beats.shift() ?? (await new Promise<Beat>(() => {}))
      if (beat instanceof Error) throw beat
      return beat
    },
  } as unknown as TaskApi
  const heartbeats = startHeartbeats(api, () => {
    ends += 1
  })
  return { heartbeats, count: () => count, ends: () => ends }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('a server that holds heartbeats is asked again at once', async () => {
  const { heartbeats, count, ends } = beating({ success: true, waited: true }, { success: true, waited: true })
  await settle()
  heartbeats[Symbol.dispose]()
  assert.deepEqual([count(), ends()], [3, 0])
})

test('a server that does not hold them is asked again later', async () => {
  const { heartbeats, count, ends } = beating({ success: true, waited: false }, { success: true, waited: false })
  await settle()
  heartbeats[Symbol.dispose]()
  await settle()
  assert.deepEqual([count(), ends()], [1, 0])
})

test('the end of the task, and a refusal, end the process once', async () => {
  for (const last of [{ success: false, waited: true }, new Error('refused')]) {
    const { heartbeats, ends } = beating({ success: true, waited: true }, last)
    await settle()
    heartbeats[Symbol.dispose]()
    assert.equal(ends(), 1)
  }
})
