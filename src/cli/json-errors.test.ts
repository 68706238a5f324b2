import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { after, before, mock, test } from 'node:test'
import type { Command } from 'commander'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import type { CliContext } from './command.ts'
import { createProgram, main } from './main.ts'

const directory = temporaryDirectory()
before(() => {
  process.env.FLWR_HOME = directory.path
  writeFileSync(directory.file('config.toml'), '[superlink]\ndefault = "absent"\n')
})
after(() => {
  delete process.env.FLWR_HOME
  directory[Symbol.dispose]()
})

/** The exit status of a command, and the text that it writes to standard output. */
function flwr(...args: readonly string[]): Promise<{ status: number; stdout: string }> {
  return withOutput(async () => {
    const context: CliContext = { signal: new AbortController().signal, status: 0 }
    await (await createProgram(context)).parseAsync([...args], { from: 'user' })
    return context.status
  })
}

async function withOutput(run: () => Promise<number>): Promise<{ status: number; stdout: string }> {
  let stdout = ''
  const { write } = process.stdout
  // The test runner writes buffers to the same stream.
  const spy = mock.method(process.stdout, 'write', (chunk: unknown, ...rest: []) => {
    if (typeof chunk !== 'string') return write.call(process.stdout, chunk as Uint8Array, ...rest)
    stdout += chunk
    return true
  })
  try {
    const status = await run()
    return { status, stdout }
  } finally {
    spy.mock.restore()
  }
}

function leaves(command: Command, path: readonly string[]): { command: Command; path: readonly string[] }[] {
  if (command.commands.length === 0) return [{ command, path }]
  return command.commands.flatMap((sub) => leaves(sub, [...path, sub.name()]))
}

/** Options without which a command stops at its arguments. */
const needed: Readonly<Record<string, readonly string[]>> = {
  // The name of an app begins with a letter.
  new: ['7'],
  build: ['--app', 'absent'],
  'pki init': ['/dev/null'],
  'federation simulation-config': ['--num-supernodes', '2'],
}

/** Commands whose output is a screen, a page or a server until they are ended, and those that our SuperLink refuses. */
const withoutDocument = ['top', 'dashboard', 'login', 'pull', 'app publish', 'app review', 'chat', 'pki ocsp']

test('every command that ends by itself has --format json', async () => {
  const program = await createProgram({ signal: new AbortController().signal, status: 0 })
  const without = leaves(program, []).filter(({ command }) => command.options.every(({ long }) => long !== '--format'))
  assert.deepEqual(
    without.map(({ path }) => path.join(' ')),
    withoutDocument,
  )
})

test('an error of any command with --format json is one document, and its status is 1', async () => {
  const program = await createProgram({ signal: new AbortController().signal, status: 0 })
  const commands = leaves(program, []).filter(({ command }) => command.options.some(({ long }) => long === '--format'))
  assert.ok(commands.length > 20, `${commands.length} commands`)
  for (const { command, path } of commands) {
    const name = path.join(' ')
    // Lists connections alone: an error only if the file cannot be read.
    if (name === 'config list') writeFileSync(directory.file('config.toml'), '= nonsense')
    const values = command.registeredArguments.filter(({ required }) => required).map(() => '7')
    const { status, stdout } = await flwr(...path, ...values, ...(needed[name] ?? []), '--format', 'json')
    const document = JSON.parse(stdout)
    assert.deepEqual(Object.keys(document), ['success', 'error-message'], name)
    assert.equal(document.success, false, name)
    assert.equal(status, 1, `${name}: ${stdout}`)
  }
})

test('the older form of a command with --format json ends with a document, and with status 0 as in Flower 1.29', async () => {
  writeFileSync(directory.file('config.toml'), '[superlink]\ndefault = "absent"\n')
  const federation = '[tool.flwr.federations.e2e]\naddress = "127.0.0.1:9093"\ninsecure = true\n'
  writeFileSync(directory.file('pyproject.toml'), `[project]\nname = "app"\n${federation}`)
  const run = (...args: string[]) =>
    withOutput(async () => (await main([...args, '--format', 'json'], new AbortController().signal)) as number)
  for (const sentence of [/were moved .*: flwr list e2e$/, /no connections to move.* config\.toml: flwr list e2e$/]) {
    const { status, stdout } = await run('list', directory.path, 'e2e')
    const document = JSON.parse(stdout)
    assert.equal(document.success, false)
    assert.match(document['error-message'], sentence)
    assert.equal(status, 0)
  }
  await assert.rejects(run('list', directory.path, 'e2e', 'more'), /too many arguments: more/)
})
