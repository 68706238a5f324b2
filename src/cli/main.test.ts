import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { createProgram } from './main.ts'

const root = join(import.meta.dirname, '..', '..')
const hook = join(root, 'test', 'harness', 'loaded-modules.mjs')
const cacheHook = join(root, 'test', 'harness', 'stripped-types.mjs')

/** The modules that a program loads, by their path in the repository. Its exit status is 0. */
function modulesOf(program: string, ...args: readonly string[]): string[] {
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--import', hook, join(root, 'bin', 'start.mjs'), program, ...args],
    { encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } },
  )
  assert.equal(status, 0, stderr)
  return [...stderr.matchAll(/^loaded (.+)$/gm)].map(([, url = '']) => relative(root, fileURLToPath(url)))
}

const packagesOf = (modules: readonly string[]): string[] => [
  ...new Set(modules.flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [])),
]
const commandsOf = (modules: readonly string[]): string[] =>
  modules.filter((path) => path.startsWith('src/cli/commands/')).map((path) => path.slice('src/cli/commands/'.length))

test('flwr --version loads no command and no package but the parser', () => {
  const modules = modulesOf('flwr', '--version')
  assert.deepEqual(packagesOf(modules), ['commander'])
  assert.deepEqual(commandsOf(modules), [])
  assert.ok(modules.length > 5 && modules.length <= 40, `${modules.length} modules`)
})

test('a second start of flwr takes its code from the cache, without stripping types', () => {
  using directory = temporaryDirectory()
  const env = { ...process.env, TMPDIR: directory.path, NODE_COMPILE_CACHE: undefined }
  const start = (): string =>
    spawnSync(process.execPath, ['--import', cacheHook, join(root, 'bin', 'start.mjs'), 'flwr', '--version'], {
      encoding: 'utf8',
      env,
    }).stderr
  assert.match(start(), /^stripped types$/m)
  assert.doesNotMatch(start(), /^stripped types$/m)
})

test('a command of flwr loads its own module, and none that reads certificates without TLS', () => {
  for (const [name, file] of [
    ['ls', 'list.ts'],
    ['run', 'run.ts'],
  ] as const) {
    const modules = modulesOf('flwr', name, '--help')
    assert.deepEqual(commandsOf(modules), [file])
    assert.ok(!packagesOf(modules).includes('pkijs'), name)
    assert.ok(!packagesOf(modules).some((path) => path.startsWith('@opentelemetry/')), name)
  }
})

test('help names every command, and a similar name is suggested for an unknown one', () => {
  const flwr = (...args: readonly string[]) =>
    spawnSync(process.execPath, [join(root, 'bin', 'start.mjs'), 'flwr', ...args], { encoding: 'utf8' })
  const { stdout } = flwr('--help')
  for (const name of ['new', 'run', 'list|ls', 'login', 'chat', 'pki', 'tls'])
    assert.ok(stdout.includes(`\n  ${name} `), name)
  assert.match(flwr('help', 'run').stdout, /^Usage: flwr run \[options\] \[app\]/)
  assert.match(flwr('rum').stderr, /flwr: unknown command 'rum'\s+\(Did you mean run\?\)/)
})

test('an app process without TLS loads nothing that reads certificates', () => {
  const modules = modulesOf('flwr-clientapp', '--help')
  assert.ok(!packagesOf(modules).includes('pkijs'))
  assert.deepEqual(
    modules.filter((path) => path.startsWith('src/identity/certificate')),
    [],
  )
})

test('help fits terminals of 60, 80 and 160 columns, and shows no empty default', async () => {
  const program = await createProgram({ signal: new AbortController().signal, status: 0 })
  for (const columns of [60, 80, 160])
    for (const command of [program, ...program.commands]) {
      const text = command.configureOutput({ getOutHelpWidth: () => columns }).helpInformation()
      const wide = text.split('\n').filter((line) => line.length > columns)
      assert.deepEqual(wide, [], `${command.name()} in ${columns} columns`)
      assert.doesNotMatch(text, /default: \[\]/)
    }
})
