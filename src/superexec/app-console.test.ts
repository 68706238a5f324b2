import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { hostileTexts } from '../../test/harness/hostile-values.ts'
import { limits } from '../base/limits.ts'
import { createLogger, type LogFormat } from '../base/log.ts'
import { AppConsole, type ConsoleOwner } from './app-console.ts'

const owner: ConsoleOwner = { app: 'ClientApp', runId: 7n }

/** A log that takes lines until the test stops it. */
class Sink extends EventEmitter {
  writableNeedDrain = false
}

function setUp({ format = 'text' as LogFormat } = {}) {
  const lines: string[] = []
  const clock = new FakeClock()
  const sink = new Sink()
  const log = createLogger({ format, sinks: [{ write: (line) => lines.push(line) }] })
  const console = new AppConsole(log, { clock, sink })
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  console.show([stdout, stderr, null], owner)
  return { console, stdout, stderr, lines, clock, sink }
}

/** Lets streams deliver what was written. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('each line of an app is a record that names the app and its run, at once', async () => {
  const { stdout, stderr, lines } = setUp()
  stdout.write('loss 0.1\nloss 0')
  await settle()
  assert.deepEqual(lines, ['INFO :      [ClientApp, run 7] loss 0.1\n'])
  stdout.end('.05')
  stderr.end('  Traceback\n')
  await settle()
  assert.deepEqual(lines.slice(1).sort(), [
    'INFO :      [ClientApp, run 7]   Traceback\n',
    'INFO :      [ClientApp, run 7] loss 0.05\n',
  ])
})

const forged = [
  'WARNING :   Refused a peer of the Fleet API: forged',
  'INFO :      [ClientApp, run 8] forged',
  '{"level":"error","msg":"forged"}',
]

test('no output of an app can forge a line of the log or steer a terminal, in either format', async () => {
  const printed = [...forged, ...hostileTexts, '\x1b[2J\x1b]0;title\x07\r', 'x\x1b[1A\x1b[2K', '\u2028y', '\0'].join(
    '\n',
  )
  for (const format of ['text', 'json'] as const) {
    const { console, stdout, stderr, lines } = setUp({ format })
    stdout.end(printed)
    stderr.end()
    await console.close()
    assert.ok(lines.length >= forged.length)
    for (const line of lines) {
      assert.match(line, /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+\n$/u, JSON.stringify(line))
      if (format === 'text') assert.match(line, /^INFO : {6}\[ClientApp, run 7\] /)
      else {
        const { level, printedBy, run } = JSON.parse(line)
        assert.deepEqual({ level, printedBy, run }, { level: 'info', printedBy: 'ClientApp', run: '7' })
      }
    }
  }
})

test('a flood is cut off and counted, also if the app prints nothing afterwards', async () => {
  const { stdout, stderr, lines, clock } = setUp()
  const flood = 'x\n'.repeat(limits.appLinesMax)
  stdout.write(flood)
  stderr.write(flood)
  await settle()
  assert.equal(lines.length, limits.appLinesMax)
  clock.advance(limits.appLinesWindowMs)
  await settle()
  assert.equal(
    lines.at(-1),
    `WARNING :   ${limits.appLinesMax} lines of an app are not shown: it writes more than 1000 in 10 s type=ClientApp run=7\n`,
  )
  stdout.write('again\n')
  await settle()
  assert.match(lines.at(-1) ?? '', /\] again\n$/)
})

test('the last lines before the end are shown whatever came before', async () => {
  const { stdout, lines } = setUp()
  const { appLinesMax, appLastLinesMax } = limits
  stdout.end(`${'x\n'.repeat(appLinesMax + 3) + 'y\n'.repeat(appLastLinesMax - 1)}RangeError: no such partition`)
  await settle()
  assert.equal(lines.length, appLinesMax + 1 + appLastLinesMax)
  assert.match(lines[appLinesMax] ?? '', /^WARNING : {3}3 lines of an app are not shown/)
  assert.match(lines.at(-1) ?? '', /\] RangeError: no such partition\n$/)
})

test('nothing is read from an app while the log cannot take more', async () => {
  const { stdout, lines, sink } = setUp()
  sink.writableNeedDrain = true
  const chunk = `${'x'.repeat(8000)}\n`
  stdout.write(chunk)
  await settle()
  assert.equal(lines.length, 1)
  let isFull = false
  for (let count = 0; count < 100 && !isFull; count++) {
    isFull = !stdout.write(chunk)
    await settle()
  }
  assert.ok(isFull, 'the app has to wait')
  const shown = lines.length
  assert.ok(shown < 10, String(shown))
  sink.writableNeedDrain = false
  sink.emit('drain')
  await settle()
  assert.ok(lines.length > shown)
  assert.equal(sink.listenerCount('drain') + sink.listenerCount('close') + sink.listenerCount('error'), 0)
})

test('what ended apps have printed is shown before the end, and an open pipe delays it by a second at most', async () => {
  const { console, stdout, lines, clock } = setUp()
  stdout.write('last words')
  const closed = console.close()
  await settle()
  clock.advance(1000)
  await closed
  assert.deepEqual(lines, ['INFO :      [ClientApp, run 7] last words\n'])
})
