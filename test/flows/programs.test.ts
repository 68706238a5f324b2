import assert from 'node:assert/strict'
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../harness/directory.ts'
import { run } from '../harness/program.ts'

const bin = join(import.meta.dirname, '..', '..', 'bin')
const names = ['flower-superlink', 'flower-supernode', 'flower-superexec', 'flwr', 'flwr-serverapp', 'flwr-clientapp']

/** A folder with a `node` that says it is of this version, in front of what the system has. */
function pathWithNode(folder: string, version: number): string {
  mkdirSync(folder)
  writeFileSync(join(folder, 'node'), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 })
  return `${folder}:/usr/bin:/bin`
}

test('every program runs from any folder by its name, and brings its own Node when the one on PATH is too old', async () => {
  using directory = temporaryDirectory()
  const PATH = `${bin}:${pathWithNode(directory.file('old'), 18)}`
  for (const name of names) {
    const line = `exec ${name} --version`
    const { status, stdout, said } = await run('sh', ['-c', line], { bin: '/bin', cwd: '/', env: { PATH } })
    assert.equal(status, 0, said)
    assert.match(stdout, /Trellis \d+\.\d+\.\d+/)
  }
})

test('the simulation programs of Flower say what to run in their place', async () => {
  for (const name of ['flwr-simulation', 'flower-simulation']) {
    const { status, said } = await run(name, ['--app', '.'])
    assert.equal(status, 1)
    assert.match(said, /^Simulations have no program of their own: run the app with flwr run APP :local: --stream/)
  }
})

test('what a program writes to a pipe arrives whole', async () => {
  using directory = temporaryDirectory()
  const names = Array.from({ length: 3000 }, (_, index) => `connection-${index}-${'x'.repeat(60)}`)
  const connections = names.map((name) => `[superlink.${name}]\naddress = "fl.example:9093"\ninsecure = true\n`)
  writeFileSync(directory.file('config.toml'), connections.join(''))
  const env = { FLWR_HOME: directory.path, PATH: `${bin}:${process.env.PATH}` }
  // A pipe of the shell holds 64 KiB; those between Node's processes hold more.
  const { stdout } = await run('sh', ['-c', 'flwr config ls --format json | cat'], { bin: '/bin', env })
  assert.ok(stdout.length > 100_000, `${stdout.length} bytes`)
  assert.doesNotThrow(() => JSON.parse(stdout))
})

test('a program may be a link', async () => {
  using directory = temporaryDirectory()
  symlinkSync(join(bin, 'flwr'), directory.file('flwr'))
  const { stdout } = await run('flwr', ['--version'], { bin: directory.path, cwd: directory.path })
  assert.match(stdout, /Trellis/)
})

test('without the Node that npm brings, a Node that is too old or missing is refused with the remedy', async () => {
  using directory = temporaryDirectory()
  cpSync(bin, directory.file('bin'), { recursive: true })
  const remedy = "put it on PATH, or let npm run the install script of the package 'node', which brings it."
  for (const [version, found] of [
    [20, 'version 20'],
    [0, 'none'],
  ] as const) {
    const PATH = pathWithNode(directory.file(`node-${version}`), version)
    const { status, said } = await run('flwr', ['--version'], { bin: directory.file('bin'), env: { PATH } })
    assert.deepEqual(
      { status, said: said.trim() },
      { status: 1, said: `Trellis needs Node 26 and found ${found}: ${remedy}` },
    )
  }
  mkdirSync(directory.file('src'))
  const PATH = pathWithNode(directory.file('node-22'), 22)
  const { said } = await run('flwr', ['--version'], { bin: directory.file('bin'), env: { PATH } })
  assert.equal(
    said.trim(),
    `Trellis needs Node 26 and found version 22: run npm ci in ${directory.path}, which brings it.`,
  )
})
