import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock, letPass } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { ServerTrouble } from './server-trouble.ts'

test('a SuperExec is back within a second after its server, and says so without waiting for a held call', async () => {
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  const isBackAt = clock.now() + 90_000
  const asked: { at: number; isRetry: boolean }[] = []
  const trouble = new ServerTrouble({ address: 'server:1', clock, log, signal: new AbortController().signal })
  let isDone = false
  const overcome = trouble
    .overcome(async ({ isRetry }) => {
      asked.push({ at: clock.now(), isRetry })
      if (clock.now() < isBackAt)
        throw new RpcError('unavailable', 'No program listens', { kind: 'unreachable', failure: 'connection-refused' })
      return 'task'
    })
    .finally(() => {
      isDone = true
    })
  await letPass(clock, 'the server', () => isDone, 1000)
  assert.equal(await overcome, 'task')
  const last = asked.at(-1)
  assert.ok(last && last.at - isBackAt <= 1000)
  assert.deepEqual(
    asked.map(({ isRetry }) => isRetry),
    asked.map((_, index) => index > 0),
  )
  assert.equal(lines.at(-1), 'info Server:1 responds again')
})
