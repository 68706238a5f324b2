import type { MessageInitShape } from '@bufbuild/protobuf'
import { UsageError } from '../base/errors.ts'
import type { SimulationConfig, SimulationConfigSchema } from '../gen/flwr/proto/federation_config_pb.ts'
import { float, type Json } from './output.ts'
import { readPairs } from './run-config.ts'

/** The settings of a simulation. Ours has none, but the command also talks to SuperLinks that do. */

type Kind = 'whole number' | 'number' | 'text in quotes' | 'true or false'

/** By the names on the wire, which the command line takes with hyphens. */
const fields: Readonly<Record<string, Kind>> = {
  num_supernodes: 'whole number',
  client_resources_num_cpus: 'whole number',
  client_resources_num_gpus: 'number',
  backend: 'text in quotes',
  verbose: 'true or false',
  init_args_num_cpus: 'whole number',
  init_args_num_gpus: 'whole number',
  init_args_logging_level: 'text in quotes',
  init_args_log_to_driver: 'true or false',
}

/** Reads every `--federation-config`; `undefined` when there is none. Throws a UsageError that names the key. */
export function readSimulationConfig(
  texts: readonly string[],
): MessageInitShape<typeof SimulationConfigSchema> | undefined {
  if (texts.length === 0) return undefined
  const pairs = Object.entries(readPairs(texts, '--federation-config'))
  return Object.fromEntries(pairs.map(([key, value]) => [camelCase(wireName(key)), checked(key, value)]))
}

/** As JSON, by the names on the wire; `null` for what is not set. */
export function simulationToJson(config: SimulationConfig | undefined): Json {
  return Object.fromEntries(
    Object.keys(fields).map((name) => {
      const value = config?.[camelCase(name) as keyof SimulationConfig] as Json | undefined
      return [name, typeof value === 'number' && fields[name] === 'number' ? float(value) : (value ?? null)]
    }),
  )
}

function checked(key: string, value: boolean | bigint | number | string): boolean | number | string {
  const kind = fields[wireName(key)]
  if (!kind) {
    const known = Object.keys(fields).map((name) => name.replaceAll('_', '-'))
    throw new UsageError(`--federation-config: '${key}' is unknown: there are ${known.join(', ')}.`)
  }
  const good = {
    'whole number': typeof value === 'bigint' && value >= 0n && value < 2n ** 32n,
    number: typeof value === 'number' || typeof value === 'bigint',
    'text in quotes': typeof value === 'string',
    'true or false': typeof value === 'boolean',
  }
  if (!good[kind])
    throw new UsageError(
      `--federation-config: '${key}' must be ${kind === 'true or false' ? '' : 'a '}${kind}, not ${value}.`,
    )
  return typeof value === 'bigint' ? Number(value) : value
}

function wireName(key: string): string {
  return key.replaceAll('-', '_')
}

function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
}
