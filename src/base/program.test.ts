import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { type TestContext, test } from 'node:test'
import { UsageError } from './errors.ts'
import { runProgram } from './program.ts'

/** Takes away the listeners for signals that a program adds, and records what it prints and its exits. */
function observe(t: TestContext): { readonly said: string[]; readonly steps: string[] } {
  const [said, steps]: [string[], string[]] = [[], []]
  t.mock.method(process.stderr, 'write', (text: string) => {
    said.push(text)
    steps.push('said')
    return true
  })
  t.mock.method(process, 'exit', (status: number) => steps.push(`exit ${status}`))
  const names = ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const
  const before = names.map((name) => process.listeners(name))
  t.after(() => {
    for (const [index, name] of names.entries())
      for (const listener of process.listeners(name))
        if (!before[index]?.includes(listener)) process.removeListener(name, listener)
  })
  return { said, steps }
}

test('a program that does not end in time after a signal says so before it is ended', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { said, steps } = observe(t)
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
})

test('a second signal ends a program at once, with the status of shells', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { steps } = observe(t)
  const { promise, resolve } = Promise.withResolvers<number>()
  const status = runProgram((_argv, signal) => {
    signal.addEventListener('abort', () => steps.push(`aborted by ${signal.reason}`))
    return promise
  }, [])
  process.emit('SIGINT')
  assert.deepEqual(steps, ['aborted by SIGINT'])
  process.emit('SIGTERM')
  assert.deepEqual(steps, ['aborted by SIGINT', `exit ${128 + constants.signals.SIGTERM}`])
  resolve(0)
  assert.equal(await status, 0)
})

test('a mistake of the user is one sentence, and a bug asks to be reported', async (t) => {
  const { said } = observe(t)
  const failing = (error: Error): Promise<number> => runProgram(() => Promise.reject(error), [])
  assert.equal(await failing(new UsageError('--port is no number: give one.')), 1)
  assert.deepEqual(said, ['--port is no number: give one.\n'])
  assert.equal(await failing(new TypeError('x is undefined')), 1)
  assert.match(said[1] ?? '', /^This is a bug, please report it: TypeError: x is undefined\n\s+at /)
})
