import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { UsageError } from '../base/errors.ts'
import { readRunConfig } from './run-config.ts'

const app = { rounds: 3n, rate: 0.1, name: '', flag: false, 'a.b': 1n, 'a.c': 2n }

test('pairs keep their TOML types, and several options add up, the later winning', () => {
  assert.deepEqual(
    readRunConfig([`rounds=5 rate=1.0 name="left ward" flag=true`, 'a.b=7', "rounds=6 name='x y'", 'a.c=8'], app),
    { rounds: 6n, rate: 1, name: 'x y', flag: true, 'a.b': 7n, 'a.c': 8n },
  )
  assert.deepEqual(readRunConfig([], app), {})
})

test('one .toml file stands for the pairs, its tables become dotted keys', () => {
  const folder = mkdtempSync(join(tmpdir(), 'trellis-config-'))
  const file = join(folder, 'run.toml')
  writeFileSync(file, 'rounds = 9\n[a]\nb = 4\n')
  assert.deepEqual(readRunConfig([file], app), { rounds: 9n, 'a.b': 4n })
  assert.throws(() => readRunConfig([file, 'rounds=1'], app), /a .toml file cannot be combined with others/)
  const home = process.env.HOME
  process.env.HOME = folder
  assert.deepEqual(readRunConfig(['~/run.toml'], app), { rounds: 9n, 'a.b': 4n })
  process.env.HOME = home
  rmSync(folder, { recursive: true })
  assert.throws(() => readRunConfig([file], app), /run\.toml cannot be read/)
})

test('what is not a pair, not TOML, not a plain value or not a key of the app is refused before anything is sent', () => {
  const faults: readonly (readonly [string, RegExp])[] = [
    ['rounds', /--run-config: 'rounds' is not understood: give key=value pairs/],
    ['rounds=abc', /--run-config: .*invalid value/],
    ['rounds=[1]', /The value of 'rounds' must be a boolean, a number or a string/],
    ['ronds=1', /the app has no key 'ronds' in \[tool.flwr.app.config\]: there are rounds, rate/],
    [`"rounds=1 name='a b'"`, /the quotes around all pairs were kept.*: remove them/],
    ["'rounds=1'", /the quotes around all pairs were kept/],
    ['name="a b', /a quotation mark does not end in 'name="a b'/],
    ["name='", /a quotation mark does not end/],
    ['constructor=1', /the app has no key 'constructor'/],
  ]
  for (const [text, expected] of faults)
    assert.throws(
      () => readRunConfig([text], app),
      (error) => error instanceof UsageError && expected.test(error.message),
    )
  assert.throws(() => readRunConfig(['x=1'], {}), /no key 'x' .*: it has none/)
})
