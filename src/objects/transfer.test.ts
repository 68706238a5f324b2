import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ObjectRefusedError, ObjectsUnavailableError, pullObjects, pushObjects } from './transfer.ts'

const bytes = new Uint8Array(3)

test('a refused object ends the upload, unless the other end has it already', async () => {
  const pushed: string[] = []
  const push = async (id: string): Promise<boolean> => pushed.push(id) > 0 && id !== 'b'
  const options = { ids: ['a', 'b'], read: () => bytes, push }
  await assert.rejects(pushObjects(options), ObjectRefusedError)
  await assert.rejects(pushObjects({ ...options, isStored: async () => false }), /Object b was refused/)
  await pushObjects({ ...options, ids: ['a', 'b', 'c'], isStored: async (id) => id === 'b' })
  assert.deepEqual(pushed.slice(-3), ['a', 'b', 'c'])
})

test('a download goes on where it ended, asks again for what is on its way, and gives up on unknown objects', async () => {
  const asked: string[] = []
  const written: string[] = []
  const discarded: boolean[] = []
  const found = { objectFound: true, objectAvailable: true, objectContent: bytes }
  const options = {
    has: (id: string) => id === 'here',
    async pull(id: string) {
      asked.push(id)
      if (id === 'unknown') return { ...found, objectFound: false, objectAvailable: false }
      return asked.filter((one) => one === id).length < 2 ? { ...found, objectAvailable: false } : found
    },
    write: (id: string) => void written.push(id),
    discard: ({ objectFound }: { readonly objectFound: boolean }) => void discarded.push(objectFound),
    sleep: async () => {},
  }
  await pullObjects({ ...options, ids: ['here', 'late'] })
  assert.deepEqual([asked, written], [['late', 'late'], ['late']])
  await assert.rejects(pullObjects({ ...options, ids: ['unknown'] }), ObjectsUnavailableError)
  assert.deepEqual(discarded, [true, false], 'what came with these responses can be closed')
})
