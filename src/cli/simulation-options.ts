import type { MessageInitShape } from '@bufbuild/protobuf'
import { UsageError } from '../base/errors.ts'
import type { SimulationConfigSchema } from '../gen/flwr/proto/federation_config_pb.ts'

/** `options` of a connection in `config.toml`: how its runs are simulated, as Flower writes it. */

export type SimulationSettings = MessageInitShape<typeof SimulationConfigSchema>
type Kind = 'a whole number' | 'a number' | 'true or false' | 'a text in quotes'

const options: readonly (readonly [path: string, field: keyof SimulationSettings, kind: Kind])[] = [
  ['num-supernodes', 'numSupernodes', 'a whole number'],
  ['verbose', 'verbose', 'true or false'],
  ['backend.name', 'backend', 'a text in quotes'],
  ['backend.client-resources.num-cpus', 'clientResourcesNumCpus', 'a whole number'],
  ['backend.client-resources.num-gpus', 'clientResourcesNumGpus', 'a number'],
  ['backend.init-args.num-cpus', 'initArgsNumCpus', 'a whole number'],
  ['backend.init-args.num-gpus', 'initArgsNumGpus', 'a whole number'],
  ['backend.init-args.logging-level', 'initArgsLoggingLevel', 'a text in quotes'],
  ['backend.init-args.log-to-driver', 'initArgsLogToDriver', 'true or false'],
]

const good: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  'a whole number': (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32,
  'a number': (value) => typeof value === 'number' && value >= 0,
  'true or false': (value) => typeof value === 'boolean',
  'a text in quotes': (value) => typeof value === 'string',
}

/** Throws a UsageError that starts with `where` and names the option; tells `onUnknown` of options that have no effect. */
export function readSimulationOptions(
  table: unknown,
  where: string,
  onUnknown: (path: string) => void,
): SimulationSettings {
  const settings: Record<string, unknown> = {}
  for (const [path, value] of flatten(table, '', where)) {
    const option = options.find(([known]) => known === path)
    if (!option) onUnknown(`options.${path}`)
    else if (!good[option[2]](value))
      throw new UsageError(`${where} 'options.${path}' must be ${option[2]}, not ${JSON.stringify(value)}.`)
    else settings[option[1]] = value
  }
  return settings
}

function* flatten(table: unknown, prefix: string, where: string): Generator<[path: string, value: unknown]> {
  if (typeof table !== 'object' || table === null || Array.isArray(table) || table instanceof Date)
    throw new UsageError(`${where} 'options${prefix}' must hold options, e.g. options.num-supernodes = 10.`)
  for (const [key, value] of Object.entries(table)) {
    const path = `${prefix}.${key}`
    const isGroup = options.some(([known]) => `.${known}`.startsWith(`${path}.`))
    if (isGroup) yield* flatten(value, path, where)
    else yield [path.slice(1), value]
  }
}
