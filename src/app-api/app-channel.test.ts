import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'
import { limits } from '../base/limits.ts'
import { AppChannel, LauncherChannel, type TaskToken } from './app-channel.ts'
import type { LastWords } from './last-words.ts'

function setUp() {
  const [launcherEnd, appEnd] = duplexPair()
  const heard: unknown[] = []
  const tokens: TaskToken[] = []
  let closed = 0
  const launcher = new LauncherChannel(launcherEnd, {
    onIdle: () => heard.push('idle'),
    onLastWords: (words) => heard.push(words),
    onFlood: () => heard.push('flood'),
  })
  const app = new AppChannel({ onToken: (token) => tokens.push(token), onClose: () => void closed++ }, appEnd)
  return { launcher, app, heard, tokens, raw: appEnd, launcherEnd, closed: () => closed }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const words: LastWords = { reply: 'cmVwbHk=', objects: [['id', 'Ynl0ZXM=']], context: '' }

test('tokens reach the app, and its messages the SuperExec', async () => {
  const { launcher, app, heard, tokens } = setUp()
  launcher.send({ token: 'one', wantsLastWords: true })
  await settle()
  await app.leave(words)
  app.sayIdle()
  await settle()
  assert.deepEqual(tokens, [{ token: 'one', wantsLastWords: true }])
  assert.deepEqual(heard, [words, 'idle'])
})

test('last words are taken only where they are wanted, and only whole', async () => {
  const { launcher, app, heard, raw } = setUp()
  launcher.send({ token: 'one', wantsLastWords: false })
  await app.leave(words)
  launcher.send({ token: 'two', wantsLastWords: true })
  for (const bad of [null, 1, {}, { ...words, reply: 1 }, { ...words, objects: [['id']] }, { ...words, objects: 'x' }])
    raw.write(`${JSON.stringify({ app: 'last-words', words: bad })}\n`)
  await settle()
  assert.deepEqual(heard, [])
})

test('an app that keeps sending nonsense is reported once, and is not heard any more', async () => {
  const { heard, raw, app } = setUp()
  for (let count = 0; count < 3 * limits.appNonsenseMax; count++) raw.write('null\n')
  await settle()
  app.sayIdle()
  await settle()
  assert.deepEqual(heard, ['flood'])
})

test('both ends notice when the other is gone, and writing to it is no error', async () => {
  const { launcher, app, launcherEnd, closed } = setUp()
  launcherEnd.destroy()
  assert.equal(launcher.isOpen, false)
  launcher.send({ token: 'one', wantsLastWords: true })
  await settle()
  app.close()
  await app.leave(words)
  app.sayIdle()
  await settle()
  assert.equal(closed(), 1)
})
