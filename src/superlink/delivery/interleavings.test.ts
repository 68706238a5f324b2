import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DeliveryWorld } from '../../../test/harness/delivery-world.ts'
import { temporaryDirectory } from '../../../test/harness/directory.ts'

/** `TRELLIS_SEED=7` plays one seed again; `TRELLIS_SEEDS=500` plays as many. */
const given = process.env.TRELLIS_SEED
const seeds = given === undefined ? [...Array(Number(process.env.TRELLIS_SEEDS ?? 4)).keys()] : [Number(given)]
const stepsPerSeed = 100

test('in any order of events each instruction is answered once, no message is lost or delivered twice, and nothing is left', async () => {
  for (const seed of seeds) {
    using folder = temporaryDirectory()
    const world = await DeliveryWorld.create(seed, folder.path)
    try {
      for (let step = 0; step < stepsPerSeed; step++) await world.step()
      await world.end()
    } catch (error) {
      const trail = world.steps.slice(-12).join(', ')
      assert.fail(`TRELLIS_SEED=${seed}, after ${world.steps.length} moves (… ${trail}): ${(error as Error).stack}`)
    } finally {
      await world.close()
    }
  }
})
