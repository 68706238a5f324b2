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
const files = [
  'messages.jsonl',
  'aggregations.jsonl',
  'strategy-logs.jsonl',
  'strategy-runs.jsonl',
  'mods.jsonl',
  'secure-aggregation.jsonl',
  'secagg-plus.jsonl',
]
/** What 1.29 does not have. */
const laterFiles = ['task-messages.jsonl']

for (const [version, variable] of Object.entries(versions)) {
  const environment = process.env[variable]
  const skip = environment ? false : `${variable} names no Python environment with ${version}`
  const expected = [...files, ...(version === 'Flower 1.29' ? [] : laterFiles)]

  test(`${version} makes the recorded messages, models and logs`, { skip }, async () => {
    const features = await dispatched(environment as string)
    await assertSameVectors(environment as string, expected, features.filter(isAvx512))
  })

  // All versions are tested with one release of numpy: its other code needs one of them.
  if (version !== 'Flower 1.42') continue
  test(`${version} makes the same of them on a processor without numpy's faster code`, { skip }, async () => {
    await assertSameVectors(environment as string, expected, await dispatched(environment as string))
  })
}

/**
 * What numpy calls AVX-512, alone or as a group. Its code for that has another power function, whose last bit differs: FedAdam
 * raises its betas to the number of the round. So it is never used here.
 */
const isAvx512 = (feature: string): boolean => /^(AVX512|X86_V4$)/.test(feature)

/** Features of processors that numpy has other code for. */
async function dispatched(environment: string): Promise<string[]> {
  const source = 'from numpy._core._multiarray_umath import __cpu_dispatch__; print(*__cpu_dispatch__)'
  const features = (await run(environment, ['-c', source])).trim().split(' ')
  assert.ok(features.length > 1, 'numpy names no code that depends on the processor')
  return features
}

async function assertSameVectors(environment: string, expected: readonly string[], disabled: readonly string[]) {
  const env = { NPY_DISABLE_CPU_FEATURES: disabled.join(' ') }
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
