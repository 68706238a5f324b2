import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { total } from '../../bench/fleet/fleet-counts.ts'
import { measureScale } from '../../bench/scale/measure.ts'
import { trellisSystem } from '../../bench/scale/system.ts'
import { temporaryDirectory } from '../harness/directory.ts'

/**
 * What one SuperNode may cost in its first round: counts, because times depend on the machine. How many transactions share a
 * commit depends on it too, and so do heartbeats and pulls that return no message: they are not counted. A simulated SuperNode
 * asks by the calls of Flower's SuperNodes, or by those of ours. The contents that are stored for one of Flower's are those of
 * the objects of its reply and of what differs in its instruction; one of ours has these in the rows of its messages. The
 * model is stored once for all.
 */
const bounds = [
  { whose: "Flower's", messages: 'in-parts', nodes: 50, calls: 20, statements: 130, transactions: 13, contents: 7.2 },
  { whose: 'our', messages: 'whole', nodes: 100, calls: 5, statements: 40, transactions: 4, contents: 1 },
] as const

for (const { whose, messages, nodes, calls, statements, transactions, contents } of bounds)
  test(`a round costs each of ${nodes} SuperNodes no more of ${whose} calls, statements and stored contents than it must`, async (t) => {
    using directory = temporaryDirectory()
    const figures = await measureScale({
      directory: directory.file('scale'),
      system: trellisSystem(join(import.meta.dirname, '..', '..', 'bin'), messages),
      nodes,
      rounds: 1,
      settleMs: 0,
      pauseMs: 0,
      restMs: 0,
      idleSeconds: 0,
      limitSeconds: 240,
    })
    assert.equal(figures.failure, undefined)
    const { 'BEGIN IMMEDIATE': _begin, COMMIT: _commit, ...own } = figures.statements
    const stored = contentsStored(own)
    const asked = figures.callsPerNodeAndRound - figures.waitingCallsPerNodeAndRound
    t.diagnostic(`${asked} calls, ${total(own)} statements and ${stored} stored contents for each SuperNode`)
    assert.deepEqual(figures.lostCalls, {})
    assert.ok(asked > 0 && asked <= calls, `${asked} calls`)
    assert.ok(total(own) <= statements, JSON.stringify(own, null, 1))
    assert.ok((own['SAVEPOINT job'] ?? 0) <= transactions, `${own['SAVEPOINT job']} transactions`)
    assert.ok(stored > 0 && stored <= contents, `${stored} stored contents`)
  })

/** Contents come with their message, or one by one for an object that was announced. An announcement stores none. */
function contentsStored(statements: Readonly<Record<string, number>>): number {
  return Object.entries(statements).reduce((sum, [sql, times]) => {
    if (/^update "object"/.test(sql)) return sum + times
    const rows = /^insert into "object".* values /.test(sql) ? sql.split('), (').length : 0
    return sum + rows * times
  }, 0)
}
