import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { SimulationConfigSchema } from '../gen/flwr/proto/federation_config_pb.ts'
import { toJson } from './output.ts'
import { readSimulationConfig, simulationToJson } from './simulation-config.ts'

test('settings of a simulation are read with hyphens or underscores, each with its type', () => {
  const read = readSimulationConfig(['num-supernodes=4 client_resources_num_gpus=0.5', 'verbose=true backend="ray"'])
  const json = JSON.parse(toJson(simulationToJson(create(SimulationConfigSchema, read))))
  assert.deepEqual(json, {
    num_supernodes: 4,
    client_resources_num_cpus: null,
    client_resources_num_gpus: 0.5,
    backend: 'ray',
    verbose: true,
    init_args_num_cpus: null,
    init_args_num_gpus: null,
    init_args_logging_level: null,
    init_args_log_to_driver: null,
  })
  assert.equal(readSimulationConfig([]), undefined)
})

test('an unknown setting or one of another type is refused by its name', () => {
  assert.throws(
    () => readSimulationConfig(['foo=1']),
    /--federation-config: 'foo' is unknown: there are num-supernodes/,
  )
  assert.throws(() => readSimulationConfig(['num-supernodes=1.5']), /'num-supernodes' must be a whole number, not 1.5/)
  assert.throws(() => readSimulationConfig(['num-supernodes=-1']), /must be a whole number/)
  assert.throws(() => readSimulationConfig(['verbose=1']), /'verbose' must be true or false, not 1/)
})
