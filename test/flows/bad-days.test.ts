import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { measureBadDays } from '../../bench/bad-days/measure.ts'
import { trellisSystem } from '../../bench/scale/system.ts'
import { temporaryDirectory } from '../harness/directory.ts'

test('a run ends well although SuperNodes misbehave and vanish and its SuperLink is killed', async (t) => {
  using directory = temporaryDirectory()
  const figures = await measureBadDays({
    directory: directory.file('bad-days'),
    system: trellisSystem(join(import.meta.dirname, '..', '..', 'bin')),
    ...{ nodes: 12, vanishing: 2, calmRounds: 0, stormyRounds: 2, roundSeconds: 120, pauseMs: 0 },
  })
  t.diagnostic(`nonsense: ${figures.refusals.join(', ')}`)
  assert.equal(figures.status, 0)
  assert.equal(figures.repliesMissing, 0)
  assert.equal(figures.rejoined, figures.steady, 'every SuperNode is back after the restart, and none ended')
  assert.match(figures.refusals[0] ?? '', /^status/)
  assert.ok(!figures.refusals.includes('status 0'), 'no nonsense was accepted')
})
