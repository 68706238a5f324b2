import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { UsageError } from '../../base/errors.ts'
import type { OptionValues } from '../../base/options.ts'
import { oneLine } from '../../base/printable.ts'
import { openTraces, type TraceTarget, traceRows } from '../../base/trace-export.ts'
import { type BuiltFab, buildFab } from '../../fab/bundle.ts'
import { userConfigToWire } from '../../message/wire.ts'
import { type CliContext, type CreateCommand, collect, connectionArgument, formatOption, parseId } from '../command.ts'
import { type OpenControl, openControl } from '../connect.ts'
import { isFederationName, readFlowerConfig } from '../flower-config.ts'
import { endText, followRun } from '../follow.ts'
import { flwrHome, outerSpan } from '../home.ts'
import { movedText, moveLegacyConnections } from '../legacy-connections.ts'
import { type Output, paint, runCommand as runWithOutput } from '../output.ts'
import { readRunConfig } from '../run-config.ts'
import { statusText } from '../run-view.ts'
import { findRunId } from '../short-ids.ts'
import { readSimulationConfig } from '../simulation-config.ts'

interface Options {
  readonly stream?: boolean
  readonly federation?: string
  readonly resume?: string
  readonly runConfig: readonly string[]
  readonly federationConfig: readonly string[]
  readonly format: string
  readonly otlpEndpoint?: string
  readonly otlpCaCertfile?: string
}

/** Options of a command whose run is traced. */
type Started = Options & { readonly onStarted: (runId: bigint) => void }

export const runCommand: CreateCommand = (context) =>
  new Command('run')
    .description('run an app on a SuperLink')
    .argument('[app]', 'folder of the app', '.')
    .argument(...connectionArgument)
    .option('--stream', 'follow the run until it ends')
    .option('--federation <name>', 'federation to run in')
    .option('--resume <run>', 'start a failed or stopped run again from its last checkpoint, as a new run')
    .option(
      '-c, --run-config <pairs>',
      `override the app's configuration: key=value pairs, or a .toml file`,
      collect,
      [],
    )
    .option('--federation-config <pairs>', 'settings of a simulation, as key=value pairs', collect, [])
    .option(traceRows[0].flags, traceRows[0].help)
    .option(traceRows[1].flags, traceRows[1].help)
    .addOption(formatOption())
    .action(async (app: string, connectionName: string | undefined, options: Options) => {
      context.status = await runWithOutput(context, options.format, (output) =>
        traced(options, output, (onStarted) =>
          options.resume === undefined
            ? run(context, app, connectionName, { ...options, onStarted }, output)
            : resume(context, app === '.' ? undefined : app, { ...options, onStarted, resume: options.resume }, output),
        ),
      )
    })

async function run(
  context: CliContext,
  app: string,
  connectionName: string | undefined,
  options: Started,
  output: Output,
): Promise<number> {
  if (app.startsWith('@'))
    throw new UsageError(`'${app}' is an app on Flower Hub, which Trellis does not fetch from: give a folder.`)
  const folder = resolve(app.replace(/^~(?=$|\/)/, homedir()))
  if (connectionName === undefined) ensureNoConnection(app, folder)
  const fab = buildFab(folder)
  // After the build: an app that is refused changes nothing.
  const moved = moveLegacyConnections(folder, flwrHome())
  if (moved) output.note(movedText(moved, `flwr run ${app}`))
  for (const warning of fab.warnings) output.note(`Warning: ${warning}`)
  using control = await openControl(context, connectionName, output)
  const { runId, federation } = await start(context, control, fab, options, output)
  output.say(`${paint('green', 'Successfully started run')} ${runId}`)
  output.answer({
    success: true,
    'run-id': runId.toString(),
    'federation-id': federation,
    'fab-id': fab.manifest.fabId,
    'fab-name': fab.manifest.name,
    'fab-version': fab.manifest.version,
    'fab-hash': fab.hash.slice(0, 8),
    'fab-filename': fab.filename,
  })
  options.onStarted(runId)
  return await follow(context, control, runId, options, output)
}

/** Takes no folder: the SuperLink has the app. */
async function resume(
  context: CliContext,
  connectionName: string | undefined,
  options: Started & { readonly resume: string },
  output: Output,
): Promise<number> {
  if (options.runConfig.length + options.federationConfig.length > 0 || options.federation !== undefined)
    throw new UsageError(
      'A run is resumed as it was started: leave out --run-config, --federation-config and --federation.',
    )
  const given = parseId(options.resume, '--resume')
  using control = await openControl(context, connectionName, output)
  const resumeRunId = await findRunId(control.client, given, '--resume')
  const { runId, federation } = await control.client.startRun({ resumeRunId })
  if (runId === undefined) throw new UsageError('This SuperLink cannot resume runs: it keeps no checkpoints.')
  output.say(`${paint('green', 'Successfully started run')} ${runId}, from the last checkpoint of run ${resumeRunId}`)
  output.answer({
    success: true,
    'run-id': runId.toString(),
    'federation-id': federation,
    'resumed-run-id': String(resumeRunId),
  })
  options.onStarted(runId)
  return await follow(context, control, runId, options, output)
}

async function follow(
  context: CliContext,
  control: OpenControl,
  runId: bigint,
  options: Options,
  output: Output,
): Promise<number> {
  if (!options.stream) return 0
  const ended = await followRun(context, control, runId, output, {
    milestones: true,
    silent: output.format === 'json',
  })
  if (!ended) return 0
  output.say(endText(ended))
  return statusText(ended) === 'finished:failed' ? 1 : 0
}

/** The code that reads certificates is loaded only if it is needed. */
async function readTarget(options: OptionValues): Promise<TraceTarget | undefined> {
  if (Object.values(options).every((value) => value === undefined)) return undefined
  const { readTraceTarget } = await import('../../identity/trace-options.ts')
  return readTraceTarget(options)
}

/** Makes the command a part of the trace of the run that it starts, or of the pipeline that started the command. */
async function traced(
  { otlpEndpoint, otlpCaCertfile }: Options,
  output: Output,
  command: (onStarted: (runId: bigint) => void) => Promise<number>,
): Promise<number> {
  const startedAt = systemClock.now()
  const log = { warn: (text: string) => output.note(`Warning: ${text}`) }
  const target = await readTarget({ otlpEndpoint, otlpCaCertfile })
  await using traces = await openTraces(target, 'flwr', { log })
  let runId: bigint | undefined
  try {
    return await command((started) => {
      runId = started
    })
  } finally {
    const endedAt = systemClock.now()
    if (runId !== undefined) {
      const about = { name: 'flwr run', runId, parent: `run ${runId}` as const, outer: outerSpan() }
      traces.record({ ...about, startedAt, endedAt, attributes: {} })
    }
  }
}

/** `flwr run NAME` takes the name for a folder, which is easily forgotten. */
function ensureNoConnection(app: string, folder: string): void {
  if (existsSync(folder) || !existsSync(join(flwrHome(), 'config.toml'))) return
  if (readFlowerConfig(flwrHome()).names.includes(app))
    throw new UsageError(`There is no app folder '${app}': to run on the connection of that name, flwr run . ${app}`)
}

async function start(
  context: CliContext,
  control: OpenControl,
  fab: BuiltFab,
  options: Options,
  output: Output,
): Promise<{ runId: bigint; federation: string }> {
  const federation = options.federation ?? control.connection.federation ?? ''
  if (federation !== '' && !isFederationName(federation))
    throw new UsageError(`--federation must have the form @<account-name>/<federation-name>, not '${federation}'.`)
  const overrides = readRunConfig(options.runConfig, fab.manifest.config)
  // What is said for this run goes over what the connection says.
  const given = readSimulationConfig(options.federationConfig)
  const simulation = given || control.connection.simulation ? { ...control.connection.simulation, ...given } : undefined
  if (options.federationConfig.length > 0 && !control.connection.local)
    output.note('Warning: --federation-config is for simulations: a SuperLink with SuperNodes ignores it.')
  const starting = control.client.startRun({
    fab: { hashStr: fab.hash, content: fab.bytes },
    overrideConfig: userConfigToWire(overrides),
    ...(simulation ? { overrideFederationConfig: simulation } : {}),
    federation,
  })
  const {
    runId,
    note,
    federation: actual,
  } = await starting.catch((error: unknown) => {
    if (!context.signal.aborted) throw error
    throw new UsageError('Interrupted while the run was being started: see flwr ls whether it was.', {
      exitStatus: 130,
    })
  })
  if (note) output.note(oneLine(note))
  if (runId === undefined)
    throw new UsageError(
      `The SuperLink did not start the run: the app of ${fab.bytes.length} bytes is larger than it accepts.`,
    )
  return { runId, federation: actual || federation }
}
