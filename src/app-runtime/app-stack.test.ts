import assert from 'node:assert/strict'
import { test } from 'node:test'
import { appStack } from './app-stack.ts'

const ownCode = 'file:///trellis/src/'
const folders = ['/home/apps/lab.digits.1.0.0']

function thrown(message: string, frames: readonly string[], rest: ErrorOptions = {}): Error {
  const error = new Error(message, rest)
  error.stack = [`Error: ${message}`, ...frames.map((frame) => `    at ${frame}`)].join('\n')
  return error
}

const inApp = 'train (file:///home/apps/lab.digits.1.0.0/digits/model.ts:3:9)'
const inTrellis = 'ClientApp.handle (file:///trellis/src/sdk/client-app.ts:87:12)'
const inNode = 'process.processTicksAndRejections (node:internal/process/task_queues:104:5)'

test('the stack of an app shows its own frames, without the folder that it was unpacked into', () => {
  assert.equal(
    appStack(thrown('no data', [inApp, inTrellis, inNode]), folders, ownCode),
    'Error: no data\n    at train (digits/model.ts:3:9)',
  )
})

test('causes and properties of an error are shown, also if its last frame is left out', () => {
  const cause = thrown('no file', [inApp, inTrellis])
  const error = Object.assign(thrown('no data', [inApp, inTrellis], { cause }), { site: 'a' })
  const shown = appStack(error, folders, ownCode)
  assert.match(shown, /^Error: no data\n {4}at train \(digits\/model\.ts:3:9\) \{\n/)
  assert.match(shown, /\[cause\]: Error: no file\n {6}at train \(digits\/model\.ts:3:9\)/)
  assert.match(shown, /site: 'a'/)
  assert.doesNotMatch(shown, /trellis/)
})

test('a stack without a frame of the app is complete, and a value without a stack is shown as it is', () => {
  assert.match(appStack(thrown('odd', [inTrellis, inNode]), folders, ownCode), /client-app\.ts:87:12\)\n {4}at process/)
  assert.equal(appStack('no data', folders, ownCode), "'no data'")
})
