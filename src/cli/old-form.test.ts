import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, test } from 'node:test'
import type { Command } from 'commander'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { UsageError } from '../base/errors.ts'
import { takesConnection } from './command.ts'
import { readFlowerConfig } from './flower-config.ts'
import { createProgram } from './main.ts'

const project = `[project]
name = "app"
[tool.flwr.federations]
default = "far"
[tool.flwr.federations.far]
address = "fl.example:9093"
[tool.flwr.federations.e2e]
address = "127.0.0.1:9093"
insecure = true
`

let directory: ReturnType<typeof temporaryDirectory>
beforeEach(() => {
  directory = temporaryDirectory()
  process.env.FLWR_HOME = directory.path
  writeFileSync(directory.file('pyproject.toml'), project)
})
afterEach(() => {
  delete process.env.FLWR_HOME
  directory[Symbol.dispose]()
})

async function failureOf(...args: readonly string[]): Promise<UsageError> {
  const program = await createProgram({ signal: new AbortController().signal, status: 0 })
  const error = await program.parseAsync([...args], { from: 'user' }).catch((thrown: unknown) => thrown)
  assert.ok(error instanceof UsageError, String(error))
  return error
}

const connections = (): readonly string[] => readFlowerConfig(directory.path).names

test('a folder and a name, as in Flower of old, move the connections, show the new form and end with status 1', async () => {
  for (const args of [['list'], ['log', '7'], ['stop', '7'], ['supernode', 'register', 'key.pub']]) {
    writeFileSync(directory.file('pyproject.toml'), project)
    const { message, exitStatus } = await failureOf(...args, directory.path, 'e2e')
    assert.match(message, /^The connections of the app were moved to .*config\.toml: far, e2e\./)
    assert.ok(message.endsWith(`: flwr ${args.join(' ')} e2e`), message)
    assert.equal(exitStatus, 1)
  }
  assert.ok(connections().includes('e2e') && connections().includes('far'))
  assert.match(readFileSync(directory.file('pyproject.toml'), 'utf8'), /^# \[tool\.flwr\.federations\.e2e\]$/m)
})

test('every command with a connection has that form, and no more arguments than it needs', async () => {
  const program = await createProgram({ signal: new AbortController().signal, status: 0 })
  const leaves = (command: Command, path: string[]): { command: Command; path: string[] }[] =>
    command.commands.length === 0
      ? [{ command, path }]
      : command.commands.flatMap((sub) => leaves(sub, [...path, sub.name()]))
  const commands = leaves(program, []).filter(({ command }) => takesConnection(command))
  assert.ok(commands.length > 15, `${commands.length} commands`)
  for (const { command, path } of commands) {
    const others = command.registeredArguments.slice(0, -1).map(() => '7')
    const args = [...path, ...others, directory.file('nowhere')]
    const { message, exitStatus } = await failureOf(...args, 'e2e')
    assert.match(message, /nowhere' has no connections to move: .* Name a connection of config\.toml: flwr .* e2e$/)
    assert.equal(exitStatus, 1, path.join(' '))
    assert.equal((await failureOf(...args, 'e2e', 'more')).exitStatus, 2, path.join(' '))
  }
})

test('a folder alone moves them too; a name that the folder does not have moves nothing', async () => {
  assert.match((await failureOf('ls', directory.path, 'near')).message, /has no connection 'near'.* are far, e2e/)
  assert.ok(!connections().includes('e2e'))
  assert.match((await failureOf('ls', directory.path)).message, /were moved .*: flwr list far$/)
  assert.match((await failureOf('ls', directory.path)).message, /has no connections to move.*: flwr list NAME$/)
})

test('a new config.toml gets the default of the app, in either form', async () => {
  for (const form of [['e2e'], []]) {
    rmSync(directory.file('config.toml'), { force: true })
    writeFileSync(directory.file('pyproject.toml'), project)
    await failureOf('ls', directory.path, ...form)
    assert.equal(readFlowerConfig(directory.path).defaultName, 'far')
  }
})

test('flwr run of an app that is refused moves nothing', async () => {
  const context = { signal: new AbortController().signal, status: 0 }
  const program = await createProgram(context, ['run'])
  await program.parseAsync(['run', directory.path], { from: 'user' })
  assert.equal(context.status, 1)
  assert.equal(readFileSync(directory.file('pyproject.toml'), 'utf8'), project)
})
