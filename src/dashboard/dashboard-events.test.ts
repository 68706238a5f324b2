import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Clock, systemClock } from '../base/clock.ts'
import { logCharactersMax } from '../web/run-log-end.ts'
import type { RunSource } from './dashboard-events.ts'
import { dashboardEvents } from './dashboard-events.ts'

test('of a log that a page could not take at once, it gets the last lines', async () => {
  const line = `${'x'.repeat(98)}\n`
  const client = {
    async *streamLogs() {
      yield { logOutput: `${line.repeat(200_000)}the last line\n`, latestTimestamp: 1 }
    },
  } as unknown as RunSource['client']
  const follow = dashboardEvents(
    { subscribe: () => () => {} },
    { client, clock: systemClock, explain: String, isRetryable: () => false },
  )('/api/runs/7/log')
  const stop = new AbortController()
  const texts: string[] = []
  const send = (name: string, data: unknown): void => {
    if (name === 'log') texts.push(data as string)
    if (name === 'end') stop.abort()
  }
  await follow?.(send, stop.signal)
  assert.equal(texts.length, 1)
  const [text = ''] = texts
  assert.ok(text.length <= logCharactersMax && text.length > logCharactersMax - 200, `${text.length} characters`)
  assert.ok(text.startsWith(line) && text.endsWith(`${line}the last line\n`))
})

test('a call that failed in passing is made again soon, and one that was refused after a minute', async () => {
  for (const isPassing of [true, false]) {
    const pauses: number[] = []
    const clock = { now: () => 0, sleep: async (ms: number) => void pauses.push(ms) } as unknown as Clock
    let calls = 0
    const client = {
      async *streamLogs() {
        calls += 1
        if (calls === 1) throw new Error('busy')
        yield { logOutput: 'a line', latestTimestamp: 1 }
      },
    } as unknown as RunSource['client']
    const source = { client, clock, explain: String, isRetryable: () => isPassing }
    const names: string[] = []
    const follow = dashboardEvents({ subscribe: () => () => {} }, source)('/api/runs/7/log')
    await follow?.((name) => void names.push(name), new AbortController().signal)
    assert.deepEqual(names, ['problem', 'log', 'end'])
    assert.equal((pauses[0] as number) < 10_000, isPassing, `${pauses}`)
  }
})
