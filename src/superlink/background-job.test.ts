import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { runJob } from './background-job.ts'

test('a background job that fails again and again is tried each second and reported once a minute', async () => {
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  let tries = 0
  const job = runJob({ log, clock }, 'deadline watch', async () => {
    tries += 1
    if (tries <= 90) throw new Error(tries === 5 ? 'another reason' : 'the database cannot be reached')
  })
  for (let second = 0; second < 90; second++) {
    await new Promise((resolve) => setImmediate(resolve))
    clock.advance(1000)
  }
  await job
  assert.equal(tries, 91)
  assert.deepEqual(lines, Array(3).fill('error The deadline watch failed and is started again'))
})
