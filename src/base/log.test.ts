import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostileTexts } from '../../test/harness/hostile-values.ts'
import { limits } from './limits.ts'
import { createLogger, type LogFormat } from './log.ts'

function logged(format: LogFormat, message: string, fields: Record<string, unknown> = {}): string {
  const lines: string[] = []
  createLogger({ format, sinks: [{ write: (line) => lines.push(line) }] }).info(message, fields)
  assert.equal(lines.length, 1)
  return lines.join('')
}

test('a line looks like Flower’s, with fields behind the message', () => {
  assert.equal(
    logged('text', 'Created run', { run: 18446744073709551615n, app: 'a/b', who: 'Anna B', empty: '', count: 2 }),
    'INFO :      Created run run=18446744073709551615 app=a/b who="Anna B" empty= count=2\n',
  )
})

test('no value and no message can forge a line or steer a terminal, in either format', () => {
  for (const text of hostileTexts) {
    for (const fields of [
      { value: text },
      { error: text },
      { value: { nested: [text] } },
      { [text]: 'x' },
      { error: new Error(text) },
    ]) {
      for (const [message, more] of [
        [text, {}],
        ['message', fields],
        [text, fields],
      ] as const) {
        const line = logged('text', message, more)
        // Tabs are layout of Flower's own messages.
        assert.doesNotMatch(line, /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u, JSON.stringify(line))
        assert.match(line, /^INFO : {6}[^\n]*(\n {12}[^\n]*)*\n$/, JSON.stringify(line))
        const json = logged('json', message, more)
        assert.match(json, /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+\n$/u, JSON.stringify(json))
        assert.equal(JSON.parse(json).msg, message)
      }
    }
  }
})

test('a field with a line end is quoted, and the line end of an error of OpenSSL is cut off', () => {
  assert.equal(
    logged('text', 'Created serverapp run', { app: 'x\nWARNING :   Refused a peer: forged' }),
    'INFO :      Created serverapp run app="x\\nWARNING :   Refused a peer: forged"\n',
  )
  assert.equal(logged('text', 'Failed', { reason: 'error:0A000416\n' }), 'INFO :      Failed reason=error:0A000416\n')
})

test('a line of an app names the app before its text', () => {
  const about = { printedBy: 'ClientApp', run: 7n, count: 1 }
  assert.equal(logged('text', 'x run=8', about), 'INFO :      [ClientApp, run 7] x run=8 count=1\n')
  assert.equal(logged('text', 'x', { printedBy: 'Python' }), 'INFO :      [Python] x\n')
  const { msg, printedBy, run } = JSON.parse(logged('json', 'x', about))
  assert.deepEqual({ msg, printedBy, run }, { msg: 'x', printedBy: 'ClientApp', run: '7' })
})

test('the level of the log leaves out lines of the program, and none that an app has printed', () => {
  for (const format of ['text', 'json'] as const) {
    const lines: string[] = []
    const log = createLogger({ format, level: 'warn', sinks: [{ write: (line) => lines.push(line) }] })
    log.info('of the program')
    log.info('of the app', { printedBy: 'ClientApp', run: 7n })
    log.warn('a warning')
    assert.deepEqual(
      lines.map((line) => /of the \w+|a warning/.exec(line)?.[0]),
      ['of the app', 'a warning'],
    )
  }
})

test('the lines of a message and of a stack stay lines, none of them at the margin', () => {
  assert.equal(
    logged('text', 'round 1\n\tloss 0.1\nround 2'),
    'INFO :      round 1\n            \tloss 0.1\n            round 2\n',
  )
  const error = Object.assign(new Error('broken'), { stack: 'Error: broken\n    at here (file.ts:1:1)' })
  assert.equal(
    logged('text', 'Failed', { error }),
    'INFO :      Failed error=Error: broken\n                at here (file.ts:1:1)\n',
  )
})

test('what one line holds is bounded', () => {
  const long = 'x'.repeat(limits.logMessageCharactersMax * 2)
  const most = limits.logMessageCharactersMax + 3 * limits.logValueCharactersMax
  assert.ok(logged('text', long, { a: long, b: [long], c: 1 }).length < most)
})
