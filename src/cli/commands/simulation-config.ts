import { Command, Option } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { wholeNumber } from '../../base/options.ts'
import { oneLine } from '../../base/printable.ts'
import { type CreateCommand, connectionArgument, formatOption } from '../command.ts'
import { openControl } from '../connect.ts'
import { runCommand } from '../output.ts'
import type { SimulationSettings } from '../simulation-options.ts'

interface Options {
  readonly numSupernodes?: string
  readonly clientResourcesNumCpus?: string
  readonly clientResourcesNumGpus?: string
  readonly verbose?: boolean
  readonly backendName?: string
  readonly initArgsNumCpus?: string
  readonly initArgsNumGpus?: string
  readonly initArgsLoggingLevel?: string
  readonly initArgsLogToDriver?: string
  readonly format: string
}

/** `flwr federation simulation-config` */
export const simulationConfigCommand: CreateCommand = (context) =>
  new Command('simulation-config')
    .description('set the defaults for the simulated SuperNodes of a federation')
    .argument('[federation]', 'name of the federation; by default the only one of the SuperLink')
    .argument(...connectionArgument)
    .option('--num-supernodes <count>', 'number of virtual SuperNodes')
    .option('--client-resources-num-cpus <count>', 'processors for each ClientApp')
    .option('--client-resources-num-gpus <share>', 'GPUs for each ClientApp, e.g. 0.5')
    .option('--verbose', 'for Flower only; has no effect')
    .addOption(new Option('--backend-name <name>', 'for Flower only; has no effect').choices(['ray']))
    .option('--init-args-num-cpus <count>', 'total number of processors to use')
    .option('--init-args-num-gpus <count>', 'total number of GPUs to use')
    .option('--init-args-logging-level <level>', 'for Flower only; has no effect')
    .addOption(
      new Option('--init-args-log-to-driver <bool>', 'for Flower only; has no effect').choices(['true', 'false']),
    )
    .addOption(formatOption())
    .action(async (federationName: string | undefined, connectionName: string | undefined, options: Options) => {
      context.status = await runCommand(context, options.format, async (output) => {
        const config = readSettings(options)
        if (Object.keys(config).length === 0)
          throw new UsageError('Say at least one setting, e.g. --num-supernodes 20.', { exitStatus: 2 })
        using control = await openControl(context, connectionName, output)
        const answer = await control.client.configureSimulationFederation({
          federationName: federationName ?? control.connection.federation ?? '',
          config,
        })
        output.say(
          `Runs of ${oneLine(answer.federationName || federationName || 'the federation')} are simulated like that now.`,
        )
        output.answer({ success: true, 'federation-id': answer.federationName || federationName || '' })
        return undefined
      })
    })

function readSettings(options: Options): SimulationSettings {
  const count = (text: string | undefined, flag: string, min: number) =>
    wholeNumber(text, flag, { min, max: 2 ** 32 - 1 })
  const given = {
    numSupernodes: count(options.numSupernodes, '--num-supernodes', 1),
    clientResourcesNumCpus: count(options.clientResourcesNumCpus, '--client-resources-num-cpus', 1),
    clientResourcesNumGpus: share(options.clientResourcesNumGpus),
    verbose: options.verbose,
    backend: options.backendName,
    initArgsNumCpus: count(options.initArgsNumCpus, '--init-args-num-cpus', 1),
    initArgsNumGpus: count(options.initArgsNumGpus, '--init-args-num-gpus', 0),
    initArgsLoggingLevel: options.initArgsLoggingLevel,
    initArgsLogToDriver: options.initArgsLogToDriver === undefined ? undefined : options.initArgsLogToDriver === 'true',
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

function share(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text)
  throw new UsageError(`--client-resources-num-gpus must be a number of at least 0, not '${text}'.`, { exitStatus: 2 })
}
