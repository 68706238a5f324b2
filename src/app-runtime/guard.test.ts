import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'

const guardModule = JSON.stringify(new URL('./guard.ts', import.meta.url).href)

test('an app that computes ends with its parent, even if the dead parent is not reaped', async ({ signal }) => {
  const busyApp = `
    const { guardParent } = await import(${guardModule})
    guardParent(process.ppid)
    process.stdout.write('app ' + process.pid + '\\n')
    for (const endsAt = Date.now() + 120_000; Date.now() < endsAt; ) {}
    process.stdout.write('the app was not ended')`
  const parent = `
    import { spawn } from 'node:child_process'
    process.stdout.write(process.pid + '\\n')
    spawn(process.execPath, ['--eval', ${JSON.stringify(busyApp)}], { stdio: 'inherit' })`
  // The shell becomes a program that never waits for its children: the parent remains as a zombie.
  const grandparent = spawn('sh', ['-c', '"$@" & exec sleep 60 >&-', 'sh', process.execPath, '--eval', parent], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  let isEnded = false
  const appPid = (): number => Number(/^app (\d+)\n/m.exec(said)?.[1] ?? 0)
  try {
    grandparent.stdout.on('data', (chunk) => {
      said += chunk
      if (appPid()) process.kill(Number.parseInt(said, 10), 'SIGKILL')
    })
    // The last process that holds the pipe is the app.
    await once(grandparent.stdout, 'end', { signal })
    isEnded = true
    assert.match(said, /^\d+\napp \d+\n$/)
  } finally {
    const app = isEnded ? undefined : appPid()
    if (app) process.kill(app, 'SIGKILL')
    grandparent.kill('SIGKILL')
  }
})
