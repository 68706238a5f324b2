import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import { sha256InTurns } from './hash-in-turns.ts'

test('a hash that is made in pieces is the hash', async () => {
  for (const size of [0, 1, 512 * 1024, 512 * 1024 + 1, 3_000_000]) {
    const bytes = Buffer.alloc(size, 'some bytes')
    assert.equal(await sha256InTurns(bytes), hash('sha256', bytes, 'hex'))
  }
})
