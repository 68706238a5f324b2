import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runProgram } from './program.ts'

test('a program that does not end in time after a signal says so before it is ended', async (t) => {
  const said: string[] = []
  const steps: string[] = []
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(process.stderr, 'write', (text: string) => {
    said.push(text)
    steps.push('said')
    return true
  })
  t.mock.method(process, 'exit', (status: number) => steps.push(`exit ${status}`))
  const names = ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const
  const before = names.map((name) => process.listeners(name))
  let end = (_status: number): void => {}
  const status = runProgram((_argv, _signal, ending) => {
    if (ending) ending.drainMs = 10_000
    return new Promise((resolve) => {
      end = resolve
    })
  }, [])
  process.emit('SIGTERM')
  t.mock.timers.tick(14_999)
  assert.deepEqual(steps, [])
  t.mock.timers.tick(1)
  assert.deepEqual(steps, ['said', 'exit 1'])
  assert.deepEqual(said, ['The program did not end within 15 s of SIGTERM and was ended.\n'])
  end(0)
  assert.equal(await status, 0)
  for (const [index, name] of names.entries())
    for (const listener of process.listeners(name))
      if (!before[index]?.includes(listener)) process.removeListener(name, listener)
})
