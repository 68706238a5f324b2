import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeTaskServer } from '../../test/harness/fake-task-server.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { TaskEndedError } from '../app-api/task-api.ts'
import { ObjectsUnavailableError } from '../objects/transfer.ts'
import { runReported, type TaskContext } from './task-run.ts'

function setUp() {
  const server = new FakeTaskServer()
  const { log, lines } = recordingLogger()
  const task = { api: server.api, config: {}, log, leaveLastWords: undefined } as unknown as TaskContext
  return { server, task, lines }
}

test('a task that fails in the runtime is reported with the reason', async () => {
  const { server, task, lines } = setUp()
  assert.equal(
    await runReported(task, async () => {
      throw new Error('ENOSPC: no space left on device')
    }),
    true,
  )
  const details = 'The task could not be run: ENOSPC: no space left on device'
  assert.deepEqual(server.outcome, { subStatus: 'failed', details })
  assert.ok(lines.some((line) => line.includes(details)))
})

test('a task that was run to its end is not reported again', async () => {
  const { server, task } = setUp()
  assert.equal(await runReported(task, async () => {}), true)
  assert.deepEqual(server.calls, [])
})

test('an end that the server does not take ends the process, so that its SuperExec reports it', async () => {
  const { server, task, lines } = setUp()
  server.failures.finish = [new Error('refused')]
  assert.equal(
    await runReported(task, async () => {
      throw new Error('no input')
    }),
    false,
  )
  assert.ok(lines.some((line) => /could not be reported: refused/.test(line)))
})

test('a task that the server or a signal has ended needs no report', async () => {
  const { server, task } = setUp()
  const ended = async (): Promise<void> => {
    throw new TaskEndedError('over')
  }
  assert.equal(await runReported(task, ended), true)
  server.stop()
  assert.equal(
    await runReported(task, async () => {
      throw new Error('aborted')
    }),
    true,
  )
  server.failures.finish = [new TaskEndedError('over')]
  assert.deepEqual(server.calls, [])
})

test('a failure after the end of the run is no fault in the log', async () => {
  for (const end of ['told', 'refused'] as const) {
    const { server, task, lines } = setUp()
    const heartbeats: { waitMs: number }[] = []
    server.api.sendHeartbeat = async (callOptions) => {
      heartbeats.push(callOptions)
      if (end === 'refused') throw new TaskEndedError('over')
      return { success: false, waited: true }
    }
    assert.equal(
      await runReported(task, async () => {
        throw new ObjectsUnavailableError('Object 7200 is not known at the other end.')
      }),
      true,
    )
    assert.deepEqual(heartbeats, [{ waitMs: 1000 }], 'the end may be heard a moment later')
    assert.deepEqual(lines, ['info The task was ended: its run has ended, or was stopped'])
    assert.deepEqual(server.outcome, undefined)
  }
})
