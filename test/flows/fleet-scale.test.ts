import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { total } from '../../bench/fleet/fleet-counts.ts'
import { measureScale } from '../../bench/scale/measure.ts'
import { trellisSystem } from '../../bench/scale/system.ts'
import { temporaryDirectory } from '../harness/directory.ts'

const nodes = 50

/**
 * What one SuperNode may cost in its first round: counts, because times depend on the machine. How many transactions share a
 * commit depends on it too. A simulated SuperNode asks by the calls of Flower's SuperNodes, or by those of ours.
 */
const bounds = [
  { whose: "Flower's", messages: 'in-parts', calls: 20, statements: 130, transactions: 13 },
  { whose: 'our', messages: 'whole', calls: 5, statements: 52, transactions: 4 },
] as const

for (const { whose, messages, calls, statements, transactions } of bounds)
  test(`a round costs each of fifty SuperNodes no more of ${whose} calls and statements than it must`, async (t) => {
    using directory = temporaryDirectory()
    const figures = await measureScale({
      directory: directory.file('scale'),
      system: trellisSystem(join(import.meta.dirname, '..', '..', 'bin'), messages),
      nodes,
      rounds: 1,
      settleMs: 0,
      pauseMs: 0,
      idleSeconds: 0,
      limitSeconds: 240,
    })
    assert.equal(figures.failure, undefined)
    const { 'BEGIN IMMEDIATE': _begin, COMMIT: _commit, ...own } = figures.statements
    t.diagnostic(`${figures.callsPerNodeAndRound} calls and ${total(own)} statements for each SuperNode`)
    assert.deepEqual(figures.lostCalls, {})
    assert.ok(figures.callsPerNodeAndRound <= calls, `${figures.callsPerNodeAndRound} calls`)
    assert.ok(total(own) <= statements, JSON.stringify(own, null, 1))
    assert.ok((own['SAVEPOINT job'] ?? 0) <= transactions, `${own['SAVEPOINT job']} transactions`)
  })
