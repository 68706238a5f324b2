import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { type Command, Option } from 'commander'
import { rows as appRows } from '../../src/app-runtime/config.ts'
import type { OptionRow } from '../../src/base/options.ts'
import { createProgram } from '../../src/cli/main.ts'
import { rows as superexecRows } from '../../src/superexec/config.ts'
import { rows as superlinkRows } from '../../src/superlink/options.ts'
import { rows as supernodeRows } from '../../src/supernode/config.ts'

/** What people and manifests type for Flower's programs means something to ours: it works, or one sentence says what to use. */
const environments = { '1.29': process.env.TRELLIS_PYTHON_129, '1.41': process.env.TRELLIS_PYTHON_141 }

/** Programs of Flower that ours do not have, with the reason that the documents give. */
const absent: Record<string, string> = {
  'flwr-simulation': 'says that a SuperLink simulates by itself, whatever it is given',
  'flwr-agentapp': 'belongs to agents',
  'flwr-connector': 'belongs to connectors',
  'flwr-model': 'belongs to models',
}

for (const [release, environment] of Object.entries(environments)) {
  const skip = environment ? false : `there is no Python environment with Flower ${release}`
  test(`our programs know every command and option of Flower ${release}`, { skip }, async () => {
    const ours = await ourCommands()
    const script = join(import.meta.dirname, 'python', 'commands.py')
    const python = join(environment as string, 'bin', 'python')
    const { stdout } = await promisify(execFile)(python, [script], { maxBuffer: 1 << 22, timeout: 240_000 })
    const theirs: Record<string, { options: string[]; arguments: number }> = JSON.parse(stdout)
    assert.ok(Object.keys(theirs).length > 40, Object.keys(theirs).join())

    const missing = Object.entries(theirs).flatMap(([name, { options, arguments: count }]) => {
      if (name in absent) return []
      const own = ours.get(name)
      if (!own) return [name]
      const unknown = options.filter((flag) => !own.flags.has(flag)).map((flag) => `${name} ${flag}`)
      return own.arguments < count ? [...unknown, `${name}: ${count} arguments, ours takes ${own.arguments}`] : unknown
    })
    assert.deepEqual(missing, [])
  })
}

interface Known {
  readonly flags: ReadonlySet<string | undefined>
  readonly arguments: number
}

async function ourCommands(): Promise<Map<string, Known>> {
  const found = new Map<string, Known>()
  const walk = (command: Command, path: string): void => {
    const flags = command.options.flatMap(({ short, long }) => [short, long])
    found.set(path, { flags: new Set([...flags, '-h']), arguments: command.registeredArguments.length })
    for (const sub of command.commands) for (const name of [sub.name(), ...sub.aliases()]) walk(sub, `${path} ${name}`)
  }
  walk(await createProgram({ signal: new AbortController().signal, status: 0 }), 'flwr')
  const programs: Record<string, readonly OptionRow[]> = {
    'flower-superlink': superlinkRows,
    'flower-supernode': supernodeRows,
    'flower-superexec': superexecRows,
    'flwr-serverapp': appRows,
    'flwr-clientapp': appRows,
  }
  for (const [name, rows] of Object.entries(programs)) {
    const flags = rows.map((row) => new Option(row.flags).long ?? undefined)
    found.set(name, { flags: new Set([...flags, '-V', '--version', '-h']), arguments: 0 })
  }
  return found
}
