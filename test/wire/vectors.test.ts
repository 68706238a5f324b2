import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

/** The recorded cases are what they say: made again by each supported version of Flower, they are the same. */
const versions = { 'Flower 1.29': 'TRELLIS_PYTHON_129', 'Flower 1.41': 'TRELLIS_PYTHON_141' }
const files = ['messages.jsonl', 'aggregations.jsonl', 'strategy-logs.jsonl']
/** What 1.29 does not have. */
const laterFiles = ['task-messages.jsonl']

for (const [version, variable] of Object.entries(versions)) {
  const environment = process.env[variable]
  const skip = environment ? false : `${variable} names no Python environment with ${version}`
  test(`${version} makes the recorded messages, means and logs`, { skip }, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'vectors-'))
    try {
      const python = join(environment as string, 'bin', 'python')
      await promisify(execFile)(python, [join(import.meta.dirname, 'make-vectors.py'), directory], { timeout: 120_000 })
      for (const file of [...files, ...(version === 'Flower 1.29' ? [] : laterFiles)])
        assert.equal(
          readFileSync(join(directory, file), 'utf8'),
          readFileSync(join(import.meta.dirname, file), 'utf8'),
          file,
        )
    } finally {
      await rm(directory, { recursive: true })
    }
  })
}
