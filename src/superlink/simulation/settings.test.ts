import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { RunId } from '../../base/ids.ts'
import { SimulationConfigSchema } from '../../gen/flwr/proto/federation_config_pb.ts'
import { appsAtOnce, defaultSettings, mergeSettings } from './settings.ts'
import { createNodeIds } from './virtual-runs.ts'

const machine = { cpus: 8, gpus: 0 }
const merge = (overrides: MessageInitShape<typeof SimulationConfigSchema>, on = machine) =>
  mergeSettings(defaultSettings, create(SimulationConfigSchema, overrides), on)

test('a run changes the settings that it names, and no others', () => {
  const merged = merge({ numSupernodes: 3, verbose: true })
  assert.equal(merged.numSupernodes, 3)
  assert.equal(merged.verbose, true)
  assert.equal(merged.clientResourcesNumCpus, 1)
  assert.equal(merged.initArgsLoggingLevel, 'WARNING')
  assert.equal(merged.initArgsNumCpus, undefined)
  assert.equal(mergeSettings(merged, undefined, machine).numSupernodes, 3)
})

test('settings that cannot be simulated are refused by name', () => {
  const cases = [
    [{ numSupernodes: 0 }, /^num-supernodes must be from 1 to 10000, not 0\.$/],
    [{ numSupernodes: 10_001 }, /^num-supernodes must be from 1 to 10000, not 10001\.$/],
    [{ clientResourcesNumCpus: 0 }, /^client-resources-num-cpus must be at least 1\.$/],
    [{ initArgsNumCpus: 0 }, /^init-args-num-cpus must be at least 1\.$/],
    [{ clientResourcesNumGpus: -1 }, /^client-resources-num-gpus must not be negative\.$/],
    [{ clientResourcesNumGpus: Number.NaN }, /^client-resources-num-gpus must not be negative\.$/],
    [{ clientResourcesNumGpus: 0.5 }, /^client-resources-num-gpus is 0\.5, and there are 0 GPUs/],
    [{ clientResourcesNumCpus: 3, initArgsNumCpus: 2 }, /^client-resources-num-cpus is 3, more than the 2 of/],
  ] as const
  for (const [overrides, message] of cases)
    assert.throws(() => merge(overrides), { code: 'simulation-invalid', message }, JSON.stringify(overrides))
})

test('as many ClientApps run at the same time as the processors and GPUs are enough for', () => {
  assert.equal(appsAtOnce(merge({}), machine), 8)
  assert.equal(appsAtOnce(merge({ clientResourcesNumCpus: 3 }), machine), 2)
  assert.equal(appsAtOnce(merge({ initArgsNumCpus: 4 }), machine), 4)
  const withGpu = { cpus: 8, gpus: 1 }
  assert.equal(appsAtOnce(merge({ clientResourcesNumGpus: 0.5 }, withGpu), withGpu), 2)
  // More than the machine has: one after the other.
  assert.equal(appsAtOnce(merge({ clientResourcesNumCpus: 64 }), machine), 1)
  assert.equal(appsAtOnce(merge({ initArgsNumCpus: 1_000_000 }), machine), 256)
})

test('the ids of virtual nodes follow from the run', () => {
  const ids = createNodeIds(7n as RunId, 1000)
  assert.equal(new Set(ids).size, 1000)
  assert.deepEqual(createNodeIds(7n as RunId, 10), ids.slice(0, 10))
  assert.equal(ids.includes(createNodeIds(8n as RunId, 1)[0] as (typeof ids)[0]), false)
  assert.ok(ids.every((id) => id > 1n && id < 2n ** 64n))
})
