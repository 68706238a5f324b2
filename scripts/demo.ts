import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePorts, Programs, shellWord } from './demo-programs.ts'
import { Screen } from './demo-screen.ts'

/**
 * A federated training over mutual TLS, with the same programs and flags that an operator would use: one CA, a SuperLink
 * that trusts nothing else, three SuperNodes with a certificate and a third of the data each, and two that are refused.
 */

const accuracyMin = 0.9
const demoMsMax = 5 * 60_000
/** Of the Fleet API, the Control API, and the address that serves all APIs. */
const usualPorts = [9092, 9093, 8000]
const root = join(import.meta.dirname, '..')
const bin = join(root, 'bin')
const app = join(root, 'examples', 'digits')

interface Refusal {
  readonly node: string
  readonly exitStatus: number
  readonly sentence: string
}

interface Summary {
  /** Of the server's test set, which no node has. */
  readonly accuracy: number
  readonly rounds: number
  readonly secondsPerRound: number
  readonly refusals: readonly Refusal[]
}

process.exitCode = await main()

async function main(): Promise<number> {
  const options = await readOptions()
  if (!options) return 2
  const { format, dashboard, ports } = options
  const screen = new Screen(format === 'json')
  const stop = new AbortController()
  // A second Ctrl-C changes nothing: cleaning up is bounded and has begun.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => stop.abort(new Error('The demo was interrupted.')))
  process.stdout.on('error', () => stop.abort(new Error('The reader of the output is gone.')))
  const late = setTimeout(
    () => stop.abort(new Error(`The demo took more than ${demoMsMax / 60_000} minutes.`)),
    demoMsMax,
  )

  const directory = await mkdtemp(join(tmpdir(), 'trellis-demo-'))
  try {
    const stay = async (): Promise<void> => {
      clearTimeout(late)
      screen.headline('The dashboard stays until Ctrl-C.', 'cyan')
      if (!stop.signal.aborted) await once(stop.signal, 'abort')
    }
    const summary = await inDirectory(directory, screen, stop.signal, ports, dashboard ? stay : undefined)
    if (format === 'json') process.stdout.write(`${JSON.stringify(summary)}\n`)
    else conclude(summary, screen)
    return summary.accuracy >= accuracyMin ? 0 : 1
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    process.stderr.write(`\n${why}\nEverything that had been started is stopped, and its files are removed.\n`)
    return 1
  } finally {
    clearTimeout(late)
    await rm(directory, { recursive: true, force: true })
  }
}

/** Everything has ended when this returns or throws. With `stay` there is a dashboard, which ends when that resolves. */
async function inDirectory(
  directory: string,
  screen: Screen,
  signal: AbortSignal,
  ports: readonly number[],
  stay: (() => Promise<void>) | undefined,
): Promise<Summary> {
  await using programs = new Programs({
    directory,
    bin,
    signal,
    onCommand: (command) => screen.command(command),
    show: (text) => screen.write(text),
    terminal: screen.isTerminal,
  })
  const [fleet = 0, control = 0, main = 0] = ports

  screen.step('One CA, and a certificate for each program')
  await programs.run('flwr', ['pki', 'init'])
  await programs.run('flwr', ['pki', 'issue', 'server', '--server'])
  for (const site of [1, 2, 3])
    await programs.run('flwr', ['pki', 'issue', `node-${site}`, '--organization', `Hospital ${site}`])
  await programs.run('flwr', ['pki', 'issue', 'data-scientist', '--organization', 'Coordinators'])

  screen.step('A SuperLink that trusts this CA and nothing else')
  const superlink = programs.start('flower-superlink', [
    ...['--ssl-ca-certfile', 'certificates/ca.crt'],
    ...['--ssl-certfile', 'certificates/server.pem', '--ssl-keyfile', 'certificates/server.key'],
    '--ssl-require-client-auth',
    ...['--database', 'state.db', '--isolation', 'subprocess'],
    ...['--fleet-api-address', `127.0.0.1:${fleet}`, '--control-api-address', `127.0.0.1:${control}`],
    ...['--port', String(main)],
  ])
  await superlink.says(/Starting Fleet API on/)

  screen.step('Three SuperNodes, each with a certificate and a third of the images')
  const superlinkFlags = ['--superlink', `127.0.0.1:${fleet}`, '--root-certificates', 'certificates/ca.crt']
  const pair = (name: string): string[] => [
    '--ssl-client-certfile',
    `${name}.pem`,
    '--ssl-client-keyfile',
    `${name}.key`,
  ]
  const nodes = [0, 1, 2].map((partition) =>
    programs.start('flower-supernode', [
      ...superlinkFlags,
      ...pair(`certificates/node-${partition + 1}`),
      ...['--node-config', `partition-id=${partition} num-partitions=3`],
    ]),
  )
  await Promise.all(nodes.map((node) => node.says(/SuperNode ID/)))

  screen.step('A training, started with a certificate too')
  await mkdir(join(directory, '.flwr'))
  await writeFile(join(directory, '.flwr', 'config.toml'), configToml(directory, control))
  screen.command(`mkdir .flwr && cat > .flwr/config.toml <<END\n${configToml('$PWD', control)}END`)
  if (stay) {
    const dashboard = programs.start('flwr', [
      'dashboard',
      'my-deployment',
      ...(screen.isTerminal ? [] : ['--no-browser']),
    ])
    await dashboard.says(/ is at http:\S+/)
    screen.say(dashboard.stdout)
  } else screen.say('(To see its curves in a browser: npm run demo -- --dashboard)')
  await programs.run('flwr', ['run', app, 'my-deployment', '--stream'], { live: true })
  await programs.run('flwr', ['supernode', 'ls', 'my-deployment'])
  const figures = await readFigures(programs)

  screen.step('A SuperNode with a certificate of another CA, and one with none')
  await programs.run('flwr', ['pki', 'init', 'elsewhere', '--name', 'Some other CA'])
  await programs.run('flwr', ['pki', 'issue', 'intruder', '--directory', 'elsewhere'])
  const refusals: Refusal[] = []
  for (const { node, certificate, reason } of [
    { node: 'foreign certificate', certificate: pair('elsewhere/intruder'), reason: /not signed by a CA/ },
    { node: 'no certificate', certificate: [], reason: /requires a client certificate/ },
  ]) {
    const refusal = {
      node,
      ...(await programs.try('flower-supernode', [...superlinkFlags, ...certificate]).isRefused()),
    }
    screen.say(`${refusal.sentence}\n(exit status ${refusal.exitStatus})`)
    if (refusal.exitStatus === 0 || !reason.test(refusal.sentence))
      throw new Error(`The SuperNode with ${node} was not refused for that: ${refusal.sentence}`)
    refusals.push(refusal)
  }
  await stay?.()
  return { ...figures, refusals }
}

/** As the log of the run has them. */
async function readFigures(programs: Programs): Promise<Omit<Summary, 'refusals'>> {
  const { runs } = JSON.parse(await programs.read('flwr', ['ls', 'my-deployment', '--format', 'json'])) as {
    runs: { 'run-id': string }[]
  }
  const log = await programs.read('flwr', ['log', runs[0]?.['run-id'] ?? '', 'my-deployment', '--show'])
  const figure = (pattern: RegExp): number => {
    const found = pattern.exec(log)?.[1]
    if (found === undefined) throw new Error(`The log of the run does not say ${pattern.source}:\n${log}`)
    return Number(found)
  }
  const rounds = figure(/Number of rounds: (\d+)/)
  const seconds = figure(/Strategy execution finished in ([\d.]+)s/)
  const secondsPerRound = Number((seconds / rounds).toFixed(3))
  return { accuracy: figure(/Final test accuracy: ([\d.]+)/), rounds, secondsPerRound }
}

function configToml(directory: string, port: number): string {
  return `[superlink]
default = "my-deployment"

[superlink.my-deployment]
address = "127.0.0.1:${port}"
root-certificates = "${directory}/certificates/ca.crt"
client-certificate = "${directory}/certificates/data-scientist.pem"
client-private-key = "${directory}/certificates/data-scientist.key"
`
}

function conclude({ accuracy, rounds, secondsPerRound, refusals }: Summary, screen: Screen): void {
  const good = accuracy >= accuracyMin
  const verdict = good ? '' : `, which is less than ${accuracyMin}`
  screen.headline(
    `Final test accuracy ${accuracy.toFixed(4)} after ${rounds} rounds of ${secondsPerRound.toFixed(2)} s${verdict}; ${refusals.length} invalid SuperNodes rejected.`,
    good ? 'green' : 'red',
  )
  screen.say('Everything has been stopped and removed. The same by hand:\n')
  screen.say('mkdir federation && cd federation')
  screen.say(`export PATH=${shellWord(bin)}:$PATH FLWR_HOME=$PWD/.flwr`)
  for (const command of screen.commands) {
    if (command.startsWith('flwr run')) {
      screen.say(
        'for second in $(seq 60); do flwr ls >/dev/null 2>&1 && break; sleep 1; done # until the SuperLink is there',
      )
      screen.say(
        '# flwr dashboard, in another terminal with the same PATH and FLWR_HOME, shows the curves in the browser.',
      )
    }
    screen.say(command)
  }
  screen.say('kill $(jobs -p)')
}

async function readOptions(): Promise<{ format: 'default' | 'json'; dashboard: boolean; ports: number[] } | undefined> {
  try {
    const { format, dashboard, ports } = parseArgs({
      options: {
        format: { type: 'string', default: 'default' },
        dashboard: { type: 'boolean', default: false },
        ports: { type: 'string' },
      },
    }).values
    if (format !== 'default' && format !== 'json') throw new Error(`--format must be default or json, not '${format}'.`)
    if (ports !== undefined && !/^\d+,\d+,\d+$/.test(ports))
      throw new Error(`--ports must be three ports, e.g. ${usualPorts}, not '${ports}'.`)
    return {
      format,
      dashboard: dashboard && format === 'default',
      ports: ports?.split(',').map(Number) ?? (await freePorts(usualPorts)),
    }
  } catch (error) {
    process.stderr.write(
      `${error instanceof Error ? error.message : String(error)}\nUsage: npm run demo [-- [--dashboard | --format json] [--ports FLEET,CONTROL,MAIN]]\n`,
    )
  }
  return undefined
}
