import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { silentLogger } from '../base/log.ts'
import { AppConsole } from './app-console.ts'
import { PythonApps, removeAbandonedFiles } from './python-apps.ts'

const folder = mkdtempSync(join(tmpdir(), 'trellis-environment-'))
after(() => rmSync(folder, { recursive: true }))

/** What the apps of this process have in the temporary folder, by kind. */
function temporaryFolders(): string[] {
  const names = readdirSync(tmpdir()).map((name) => /^(trellis-(?:out|token))-(\d+)-/.exec(name))
  return names.flatMap((found) => (found?.[2] === String(process.pid) ? [found[1] as string] : [])).toSorted()
}

test('a SuperExec that ends leaves nothing of its Python apps in the temporary folder', {
  skip: process.platform === 'linux' ? false : 'apps are forked on Linux only',
}, async () => {
  // It imports until its input ends.
  const python = join(folder, 'python3')
  writeFileSync(python, '#!/bin/sh\nexec cat >/dev/null\n', { mode: 0o755 })
  const config = {
    serverAddress: '127.0.0.1:1',
    trustArguments: ['--insecure'],
    python,
    apps: 'python' as const,
    keepImports: false,
    dependencyInstallation: false,
  }
  const apps = new PythonApps(config, new AppConsole(silentLogger))
  const app = apps.start(
    { taskId: 1n, runId: 1n, program: 'flwr-clientapp', component: '', token: 'secret' },
    'runtime',
  )
  assert.ok(typeof app !== 'string')
  assert.deepEqual(temporaryFolders(), ['trellis-out', 'trellis-token'])
  app.kill('SIGKILL')
  await app.ended
  apps.close()
  // The program ends before it can see the end of the Python process.
  assert.deepEqual(temporaryFolders(), [])
})

test('what a killed SuperExec has left is removed, and what a running one needs is not', async () => {
  const { pid: endedPid } = spawnSync('true')
  const [ended, running] = [endedPid, process.pid].map((pid) =>
    ['out', 'token'].map((kind) => join(tmpdir(), `trellis-${kind}-${pid}-test`)),
  ) as [string[], string[]]
  for (const path of [...ended, ...running]) mkdirSync(path)
  try {
    for (const path of [...ended, ...running]) writeFileSync(join(path, 'token'), 'secret')
    await removeAbandonedFiles()
    assert.deepEqual(ended.filter(existsSync), [])
    assert.deepEqual(running.filter(existsSync), running)
  } finally {
    for (const path of [...ended, ...running]) rmSync(path, { recursive: true, force: true })
  }
})
