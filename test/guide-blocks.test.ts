import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

/** Every block of commands in the README and the guides can be pasted: a shell parses it, and our programs have its flags. */

const root = join(import.meta.dirname, '..')
const guides = readdirSync(join(root, 'docs', 'guides')).map((name) => `docs/guides/${name}`)
const blocks = ['README.md', ...guides].flatMap((path) =>
  [...readFileSync(join(root, path), 'utf8').matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
    .filter(([, language = '']) => ['', 'sh'].includes(language))
    .map(([, , text = '']) => ({ path, text })),
)

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
