import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { blocksOf, fileOf, guides, isCommands, repository as root } from './harness/guide.ts'

/**
 * Every block of commands in the README and the guides can be pasted: a shell parses it, our programs have its flags, and a
 * test follows the guide from its first block to its last.
 */

const allBlocks = guides.flatMap((path) => blocksOf(path).map((block) => ({ ...block, path })))
const blocks = allBlocks.filter(isCommands)

/** Blocks that no test runs. Add to them only what cannot run in a test. */
const notRun = [
  'README.md: test/flows/demo.test.ts runs the demo',
  'README.md: this is the command that runs the tests',
  'README.md: the tests have the programs on PATH',
  'README.md: a fragment, in which the training is yours',
  'docs/guides/kubernetes.md: it needs a cluster; test/deploy/fleet.test.ts lists SuperNodes and runs an app with the pods of the overlay',
  'docs/guides/kubernetes.md: it needs a cluster; the commands of section 2 create the same bundle',
  'docs/guides/kubernetes.md: a part of an overlay; test/deploy/guide.test.ts renders it',
  'docs/guides/kubernetes.md: a part of an overlay; test/deploy/guide.test.ts renders it',
  'docs/guides/kubernetes.md: values to add; test/deploy/helm.test.ts renders such ones',
  'docs/guides/moving-a-fleet.md: a fragment, in which the training is yours; test/faults/restart.test.ts runs such an app',
  'docs/guides/mutual-tls.md: its names and CAs are those of one organisation; src/identity/policy.test.ts reads it',
  'docs/guides/write-a-strategy.md: it needs the package registry; test/flows/package.test.ts installs new apps',
  'docs/guides/operating.md: it needs systemd; test/flows/systemd.test.ts checks the units',
  'docs/guides/object-storage.md: keys of a bucket; test/engines/object-flow.test.ts has such a file',
  'docs/guides/object-storage.md: options to add; test/engines/object-flow.test.ts trains a model with them',
  'docs/guides/object-storage.md: it needs a bucket; test/engines/object-places.test.ts moves objects',
  'docs/guides/postgresql.md: it needs a PostgreSQL server; test/engines/postgres-flow.test.ts runs an app with one',
  'docs/guides/postgresql.md: options to add; test/engines/postgres-flow.test.ts runs an app with them',
  'docs/guides/postgresql.md: it needs a PostgreSQL server',
  'docs/guides/postgresql.md: it needs a PostgreSQL server; test/engines/migrate.test.ts checks a database',
  'docs/guides/postgresql.md: test/engines/migrate.test.ts copies a database both ways',
  'docs/guides/postgresql.md: it needs three machines; test/engines/standby.test.ts runs HAProxy with such a configuration',
  'docs/guides/python-and-typescript.md: a part of a file; test/interop/both-languages.test.ts and four-supernodes.test.ts run such apps',
  'docs/guides/simulation.md: settings to choose from; those for GPUs need a machine with GPUs',
]

test('a block that no test runs says why in the source of its page, and these are all of them', () => {
  const unmarked = allBlocks.filter((block) => block.notRun === undefined && !isCommands(block) && !fileOf(block))
  assert.deepEqual(
    unmarked.map(({ place }) => place),
    [],
  )
  const marked = allBlocks.flatMap(({ path, notRun: reason }) => (reason === undefined ? [] : [`${path}: ${reason}`]))
  assert.deepEqual(marked.sort(), [...notRun].sort())
})

test('a test follows every guide that has commands to run', () => {
  const tests = ['flows', 'interop', 'deploy'].flatMap((folder) =>
    readdirSync(join(root, 'test', folder))
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => readFileSync(join(root, 'test', folder, name), 'utf8')),
  )
  const following = tests.filter((text) => text.includes('readGuide('))
  const followed = new Set(following.flatMap((text) => [...text.matchAll(/guide: '([^']+)'/g)].map(([, path]) => path)))
  const withCommands = new Set(blocks.filter((block) => block.notRun === undefined).map(({ path }) => path))
  assert.deepEqual(
    guides.filter((path) => withCommands.has(path) && !followed.has(path)),
    [],
  )
})

test('blocks write config.toml where flwr reads it, with FLWR_HOME set and unset', () => {
  const places = blocks.flatMap(({ place, text }) =>
    [...text.replace(/^#.*$/gm, '').matchAll(/\S*(?:config\.toml|\.flwr)\S*/g)].map(([path]) => ({
      place,
      path,
      text,
    })),
  )
  assert.ok(places.length > 8, 'no block writes config.toml')
  const portable = /^"\$\{FLWR_HOME:-\$HOME\/\.flwr\}(\/config\.toml)?"$/
  const own = /^"\$FLWR_HOME\/config\.toml"$/
  assert.deepEqual(
    places.filter(
      ({ path, text }) => !portable.test(path) && !(own.test(path) && /^export FLWR_HOME="\$PWD/m.test(text)),
    ),
    [],
  )
})

/** Flags by program or command of flwr, from the generated reference pages. */
const flags = new Map<string, Set<string>>()
for (const page of ['options.md', 'flwr.md']) {
  const sections = readFileSync(join(root, 'docs', 'reference', page), 'utf8')
    .split(/^## /m)
    .slice(1)
  for (const section of sections)
    flags.set(section.split('\n', 1)[0]?.trim() ?? '', new Set(section.match(/--[a-z][a-z-]*/g)))
}

const programs = /^(flower-superlink|flower-supernode|flower-superexec|flwr)\b/

/** Our commands in a block, without comments and what a shell adds. */
function commandsIn(text: string): string[] {
  return text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => line.replace(/\s#.*$/, '').replace(/^(until|while|if) /, ''))
    .map((line) => line.split(/ [|&>;]|;/)[0]?.trim() ?? '')
    .filter((line) => programs.test(line))
}

/** The section of the reference that describes a command. */
function sectionOf(command: string): string | undefined {
  const words = command.replace(/\bls\b/, 'list').split(/\s+/)
  for (let count = Math.min(3, words.length); count > 0; count--) {
    const name = words.slice(0, count).join(' ')
    if (flags.has(name)) return name
  }
  return undefined
}

test('a shell parses every block of commands in the guides', () => {
  assert.ok(blocks.length > 20, `${blocks.length} blocks`)
  for (const { path, text } of blocks) {
    const { status, stderr } = spawnSync('sh', ['-n'], { input: text, encoding: 'utf8' })
    assert.equal(status, 0, `${path}:\n${text}${stderr}`)
  }
})

test('our programs have every flag that the guides give them', () => {
  const commands = blocks.flatMap(({ path, text }) => commandsIn(text).map((command) => ({ path, command })))
  assert.ok(commands.length > 30, `${commands.length} commands`)
  for (const { path, command } of commands) {
    const section = sectionOf(command)
    assert.ok(section, `${path}: ${command}`)
    for (const flag of command.match(/--[^\s=\]]+/g) ?? [])
      assert.ok(flags.get(section)?.has(flag), `${path}: ${section} has no ${flag}: ${command}`)
  }
})

test('a block that writes below a folder makes that folder first', () => {
  for (const { path, text } of blocks) {
    const lines = text.split('\n')
    for (const [index, line] of lines.entries()) {
      const [, folder] = /(?:>|-out|-keyout) "?((?:\$\w+|[\w-]+))\//.exec(line) ?? []
      if (folder === undefined) continue
      const before = lines.slice(0, index).join('\n')
      assert.ok(new RegExp(`mkdir -p .*${folder.replace('$', '\\$')}`).test(before), `${path}: ${line}`)
    }
  }
})
