import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Acquired, noTask } from '../app-api/task-source.ts'
import { askForTask } from './next-task.ts'

const { signal } = new AbortController()

test('a SuperExec with room for one program does not hold its call, and pauses before the next', async () => {
  const held: (boolean | undefined)[] = []
  const source = {
    // A server that can hold calls says so in each response.
    acquire: async (_signal: AbortSignal, options?: { hold?: boolean }): Promise<Acquired> => {
      held.push(options?.hold)
      return { ...noTask, waited: true }
    },
  }
  const full = await askForTask(source, { programs: ['flwr-clientapp'], isRetry: false, signal })
  const roomy = await askForTask(source, { programs: ['flwr-clientapp', 'flwr-serverapp'], isRetry: false, signal })
  const retried = await askForTask(source, { programs: ['flwr-clientapp', 'flwr-serverapp'], isRetry: true, signal })
  const none = await askForTask(source, { programs: [], isRetry: false, signal })
  assert.deepEqual(held, [false, true, false])
  assert.deepEqual(
    [full, roomy, retried, none].map(({ waited }) => waited),
    [false, true, true, false],
  )
})
