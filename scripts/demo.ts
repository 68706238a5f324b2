import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, styleText } from 'node:util'
import { freePorts, Programs } from './demo-programs.ts'

/**
 * A federated training over mutual TLS, with the same programs and flags that an operator would use: one CA, a SuperLink
 * that trusts nothing else, three SuperNodes with a certificate and a third of the data each, and two that are refused.
 */

const accuracyMin = 0.9
const rounds = 5
const root = join(import.meta.dirname, '..')

interface Refusal {
  readonly node: string
  readonly exitStatus: number
  readonly sentence: string
}

interface Summary {
  readonly accuracy: number
  readonly rounds: number
  readonly secondsPerRound: number
  readonly refusals: readonly Refusal[]
}

const { values } = parseArgs({ options: { format: { type: 'string', default: 'default' } } })
const json = values.format === 'json'
const say = (text = ''): void => void (json || process.stdout.write(`${text}\n`))
let stepNumber = 0
const step = (text: string): void => {
  stepNumber += 1
  say(`\n${styleText(['bold', 'cyan'], `${stepNumber}. ${text}`, { stream: process.stdout })}`)
}

const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())

process.exitCode = await main()

async function main(): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'trellis-demo-'))
  try {
    await using programs = new Programs({ directory, bin: join(root, 'bin'), quiet: json, signal: stop.signal })
    const summary = await demo(programs, directory)
    if (json) process.stdout.write(`${JSON.stringify(summary)}\n`)
    else explain(summary, programs)
    return summary.accuracy >= accuracyMin && summary.refusals.every(({ exitStatus }) => exitStatus !== 0) ? 0 : 1
  } catch (error) {
    process.stderr.write(`${stop.signal.aborted ? 'The demo was stopped.' : `The demo failed: ${String(error)}`}\n`)
    return 1
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function demo(programs: Programs, directory: string): Promise<Summary> {
  const [fleet = 0, control = 0, main = 0] = await freePorts([9092, 9093, 8000])

  step('One CA, and a certificate for everybody')
  await programs.run('flwr', ['pki', 'init'])
  await programs.run('flwr', ['pki', 'issue', 'server', '--server'])
  for (const name of ['node-1', 'node-2', 'node-3'])
    await programs.run('flwr', ['pki', 'issue', name, '--organization', `Hospital ${name.at(-1)}`])
  await programs.run('flwr', ['pki', 'issue', 'data-scientist', '--organization', 'Coordinators'])

  step('A SuperLink that trusts this CA and nothing else')
  const superlink = programs.start('flower-superlink', [
    ...['--ssl-ca-certfile', 'certificates/ca.crt'],
    ...['--ssl-certfile', 'certificates/server.pem', '--ssl-keyfile', 'certificates/server.key'],
    '--ssl-require-client-auth',
    ...['--database', 'state.db'],
    ...['--fleet-api-address', `127.0.0.1:${fleet}`, '--control-api-address', `127.0.0.1:${control}`],
    ...['--port', String(main)],
  ])
  await superlink.line(/Starting API on/)

  step('Three SuperNodes, each with its own certificate and a third of the images')
  const nodeArguments = (certificate: string[]): string[] => [
    ...['--root-certificates', 'certificates/ca.crt'],
    ...certificate,
    ...['--superlink', `127.0.0.1:${fleet}`],
  ]
  const pair = (folder: string, name: string): string[] => [
    ...['--ssl-client-certfile', `${folder}/${name}.pem`],
    ...['--ssl-client-keyfile', `${folder}/${name}.key`],
  ]
  const nodes = [1, 2, 3].map((number) =>
    programs.start('flower-supernode', [
      ...nodeArguments(pair('certificates', `node-${number}`)),
      ...['--node-config', `partition-id=${number - 1} num-partitions=3`],
    ]),
  )
  await Promise.all(nodes.map((node) => node.line(/SuperNode ID/)))

  step('A training run, started with a certificate too')
  await mkdir(join(directory, '.flwr'))
  await writeFile(join(directory, '.flwr', 'config.toml'), configToml(directory, control))
  say(`# .flwr/config.toml\n${configToml('…', control)}`)
  const app = join(root, 'examples', 'digits')
  const output = await programs.run(
    'flwr',
    ['run', app, 'my-deployment', '--stream', '--run-config', `num-server-rounds=${rounds} min-nodes=3`],
    { live: true },
  )
  await programs.run('flwr', ['supernode', 'ls', 'my-deployment'])

  step('A SuperNode with a certificate of another CA, and one with none')
  await programs.run('flwr', ['pki', 'init', 'elsewhere', '--name', 'Some other CA'])
  await programs.run('flwr', ['pki', 'issue', 'intruder', '--directory', 'elsewhere'])
  const foreign = programs.start('flower-supernode', nodeArguments(pair('elsewhere', 'intruder')))
  const none = programs.start('flower-supernode', nodeArguments([]))
  const refusals: Refusal[] = [
    { node: 'foreign certificate', ...(await foreign.refusal()) },
    { node: 'no certificate', ...(await none.refusal()) },
  ]
  for (const { node, exitStatus, sentence } of refusals) say(`${node}: exit status ${exitStatus}\n  ${sentence}`)
  return {
    accuracy: numberIn(output, /Final test accuracy: ([\d.]+)/),
    rounds,
    secondsPerRound: numberIn(output, /Strategy execution finished in ([\d.]+)s/) / rounds,
    refusals,
  }
}

function configToml(directory: string, port: number): string {
  const path = (name: string): string => JSON.stringify(join(directory, 'certificates', name))
  return `[superlink]
default = "my-deployment"

[superlink.my-deployment]
address = "127.0.0.1:${port}"
root-certificates = ${path('ca.crt')}
client-certificate = ${path('data-scientist.pem')}
client-private-key = ${path('data-scientist.key')}
`
}

function explain({ accuracy, secondsPerRound }: Summary, programs: Programs): void {
  const good = accuracy >= accuracyMin
  const color = good ? 'green' : 'red'
  say(
    `\n${styleText(['bold', color], `Final test accuracy ${accuracy.toFixed(4)} after ${rounds} rounds of ${secondsPerRound.toFixed(2)} s.`, { stream: process.stdout })}`,
  )
  say(
    '\nThe same by hand, in an empty folder with bin/ on PATH, FLWR_HOME=$PWD/.flwr, and .flwr/config.toml as in step 4:\n',
  )
  for (const command of programs.commands) say(`  ${command}`)
}

function numberIn(text: string, pattern: RegExp): number {
  const found = pattern.exec(text)?.[1]
  if (found === undefined) throw new Error(`The run did not say ${pattern.source}.`)
  return Number(found)
}
