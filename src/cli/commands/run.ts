import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import type { UserConfig } from '../../base/user-config.ts'
import { type BuiltFab, buildFab } from '../../fab/bundle.ts'
import { parseConfigPairs } from '../../fab/config-pairs.ts'
import { userConfigToWire } from '../../message/wire.ts'
import { type CliContext, type CreateCommand, connectionArgument, formatOption } from '../command.ts'
import { type OpenControl, openControl } from '../connect.ts'
import { isFederationName } from '../flower-config.ts'
import { followRun } from '../follow.ts'
import { type Json, type Output, paint, runCommand as runWithOutput } from '../output.ts'
import { statusText } from '../run-view.ts'

interface Options {
  readonly stream?: boolean
  readonly federation?: string
  readonly runConfig: readonly string[]
  readonly federationConfig: readonly string[]
  readonly format: string
}

const collect = (value: string, earlier: readonly string[]): string[] => [...earlier, value]

export const runCommand: CreateCommand = (context) =>
  new Command('run')
    .description('run an app on a SuperLink')
    .argument('[app]', 'folder of the app', '.')
    .argument(...connectionArgument)
    .option('--stream', 'follow the run until it ends')
    .option('--federation <name>', 'federation to run in')
    .option('-c, --run-config <pairs>', `key=value pairs over the app's configuration, or a .toml file`, collect, [])
    .option('--federation-config <pairs>', 'settings of a simulation', collect, [])
    .addOption(formatOption())
    .action(async (app: string, connectionName: string | undefined, options: Options) => {
      context.status = await runWithOutput(options.format, (output) =>
        run(context, app, connectionName, options, output),
      )
    })

async function run(
  context: CliContext,
  app: string,
  connectionName: string | undefined,
  options: Options,
  output: Output,
): Promise<{ json: Json; status: number }> {
  if (app.startsWith('@'))
    throw new UsageError(`'${app}' is an app on Flower Hub, which Trellis does not fetch from: give a folder.`)
  const fab = buildFab(resolve(app.replace(/^~(?=$|\/)/, homedir())))
  for (const warning of fab.warnings) output.note(`Warning: ${warning}`)
  using control = openControl(connectionName, output.note)
  for (const warning of control.warnings) output.note(`Warning: ${warning}`)
  const runId = await start(control, fab, options, output)
  output.say(`${paint('green', 'Successfully started run')} ${runId}`)
  const json = {
    success: true,
    'run-id': runId.toString(),
    'fab-id': fab.manifest.fabId,
    'fab-name': fab.manifest.name,
    'fab-version': fab.manifest.version,
    'fab-hash': fab.hash.slice(0, 8),
    'fab-filename': fab.filename,
  }
  if (!options.stream) return { json, status: 0 }
  return { json, status: await follow(context, control, runId, output) }
}

async function start(control: OpenControl, fab: BuiltFab, options: Options, output: Output): Promise<bigint> {
  const federation = options.federation ?? control.connection.federation ?? ''
  if (federation !== '' && !isFederationName(federation))
    throw new UsageError(`--federation must have the form @<account-name>/<federation-name>, not '${federation}'.`)
  if (options.federationConfig.length > 0)
    output.note(
      'Warning: --federation-config has no effect: it sets up simulations, and this SuperLink has SuperNodes.',
    )
  const { runId, note } = await control.client.startRun({
    fab: { hashStr: fab.hash, content: fab.bytes },
    overrideConfig: userConfigToWire(readOverrides(options.runConfig)),
    federation,
  })
  if (note) output.note(note)
  if (runId === undefined)
    throw new UsageError('The SuperLink did not start the run: the app may be larger than it accepts.')
  return runId
}

function readOverrides(texts: readonly string[]): UserConfig {
  if (texts.length > 1 && texts.some((text) => text.trim().endsWith('.toml') && !text.includes('=')))
    throw new UsageError('--run-config: a .toml file cannot be combined with others: give one file, or pairs.')
  return Object.assign({}, ...texts.map((text) => parseConfigPairs(text, '--run-config')))
}

/** Answers the exit status: a run that failed fails the command. */
async function follow(context: CliContext, control: OpenControl, runId: bigint, output: Output): Promise<number> {
  const { client, connection } = control
  const { signal } = context
  const silent = output.format === 'json'
  const stream = silent ? ({ write: () => true, isTTY: false } as unknown as NodeJS.WriteStream) : process.stdout
  await followRun(client, runId, { signal, progress: !silent, stream })
  if (signal.aborted) {
    output.say(`\nThe run goes on. To come back: flwr log ${runId} ${connection.name}`)
    output.say(`To stop it: flwr stop ${runId} ${connection.name}`)
    return 0
  }
  const { runDict } = await client.listRuns({ runId })
  const found = Object.values(runDict)[0]
  const status = found ? statusText(found) : 'unknown'
  const why = found?.status?.details ? `: ${found.status.details}` : ''
  const color = status === 'finished:completed' ? 'green' : status === 'finished:failed' ? 'red' : 'yellow'
  output.say(`Run ${runId} ${paint(color, status)}${why}`)
  return status === 'finished:failed' ? 1 : 0
}
