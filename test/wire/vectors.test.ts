import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

/** The recorded cases are right: made again by each supported version of Flower, and with other SIMD code, they are the same. */
const versions = {
  'Flower 1.29': 'TRELLIS_PYTHON_129',
  'Flower 1.41': 'TRELLIS_PYTHON_141',
  'Flower 1.42': 'TRELLIS_PYTHON_142',
}
const files = ['messages.jsonl', 'aggregations.jsonl', 'strategy-logs.jsonl', 'strategy-runs.jsonl', 'mods.jsonl']
/** What 1.29 does not have. */
const laterFiles = ['task-messages.jsonl']

for (const [version, variable] of Object.entries(versions)) {
  const environment = process.env[variable]
  const skip = environment ? false : `${variable} names no Python environment with ${version}`
  const expected = [...files, ...(version === 'Flower 1.29' ? [] : laterFiles)]

  test(`${version} makes the recorded messages, models and logs`, { skip }, async () => {
    await assertSameVectors(environment as string, expected)
  })

  // All versions are tested with one release of numpy: its other code needs one of them.
  if (version !== 'Flower 1.42') continue
  test(`${version} makes the same of them on a processor without numpy's faster code`, { skip }, async () => {
    const features = await run(environment as string, [
      '-c',
      'from numpy._core._multiarray_umath import __cpu_dispatch__; print(*__cpu_dispatch__)',
    ])
    assert.match(features, /\w/, 'numpy names no code that depends on the processor')
    await assertSameVectors(environment as string, expected, { NPY_DISABLE_CPU_FEATURES: features.trim() })
  })
}

async function assertSameVectors(environment: string, expected: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'vectors-'))
  try {
    await run(environment, [join(import.meta.dirname, 'make-vectors.py'), directory], env)
    for (const file of expected)
      assert.equal(
        readFileSync(join(directory, file), 'utf8'),
        readFileSync(join(import.meta.dirname, file), 'utf8'),
        file,
      )
  } finally {
    await rm(directory, { recursive: true })
  }
}

async function run(environment: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const options = { timeout: 240_000, env: { ...process.env, ...env } }
  return (await promisify(execFile)(join(environment, 'bin', 'python'), args, options)).stdout
}
