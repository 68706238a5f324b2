import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { settled } from '../../test/harness/test-database.ts'
import { UsageError } from '../base/errors.ts'
import { startAgain } from './start-again.ts'

test('a SuperLink that was taken over waits until its files are right, or until the signal', async () => {
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  const stop = new AbortController()
  const wrong = new UsageError('--ssl-certfile: server.pem cannot be read.')
  const outcomes: (() => string)[] = []
  const start = async (): Promise<string> => outcomes.shift()?.() ?? assert.fail('It was started too often')
  const fails = (): never => {
    throw wrong
  }
  outcomes.push(fails, fails, () => 'standby')
  const started = startAgain(start, { log, clock, signal: stop.signal })
  for (let pauses = 0; pauses < 2; pauses++) {
    await settled(5)
    clock.advance(5000)
  }
  assert.equal(await started, 'standby')
  assert.deepEqual(lines, [`error ${wrong.message} This SuperLink is no standby until it is corrected.`])

  outcomes.push(fails)
  const waiting = startAgain(start, { log, clock, signal: stop.signal })
  await settled(5)
  stop.abort()
  assert.equal(await waiting, undefined)
  const bug = new TypeError('a bug')
  const breaks = async (): Promise<never> => {
    throw bug
  }
  await assert.rejects(startAgain(breaks, { log, clock, signal: new AbortController().signal }), bug)
})
