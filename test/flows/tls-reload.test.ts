import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { askingServer, countingClient, countingServer } from '../harness/apps.ts'
import { TestCa } from '../harness/certificates.ts'
import { Deployment } from '../harness/deployment.ts'
import { eventually, run, type TestProgram } from '../harness/program.ts'
import { ProjectedVolume } from '../harness/projected-volume.ts'

/** Files change while a training runs: only the log shows it. */

type Files = Readonly<Record<string, string>>

const server = { usages: ['server'], dns: ['localhost'], ips: ['127.0.0.1'] } as const

async function pair(
  ca: TestCa,
  name: string,
  request: Parameters<TestCa['issue']>[1] = {},
  roots = '',
): Promise<Files> {
  const { issued } = await ca.issue(`${name}-new`, { commonName: name, ...request })
  return { 'tls.crt': issued.certificatePem, 'tls.key': issued.keyPem, 'ca.crt': roots || ca.issued.certificatePem }
}

/** A fleet whose SuperLink and SuperNodes read their files from volumes as in Kubernetes. */
async function startFleet(
  nodes: readonly string[],
  more: (deployment: Deployment) => Promise<readonly string[]> = async () => [],
) {
  const volumes = new Map<string, ProjectedVolume>()
  const volume = async (deployment: Deployment, name: string, request = {}): Promise<ProjectedVolume> => {
    const made = new ProjectedVolume(
      deployment.directory.file(`volume-${name}`),
      await pair(deployment.ca, name, request),
    )
    volumes.set(name, made)
    return made
  }
  const deployment = await Deployment.create({
    mutualTls: true,
    async superlinkArguments(self) {
      const { file } = await volume(self, 'server', server).then((made) => ({ file: made.file.bind(made) }))
      return [
        ...['--ssl-certfile', file('tls.crt'), '--ssl-keyfile', file('tls.key'), '--ssl-ca-certfile', file('ca.crt')],
        ...['--ssl-client-ca-certfile', file('ca.crt'), '--health-server-address', '127.0.0.1:0'],
        ...(await more(self)),
      ]
    },
  })
  const programs = new Map<string, TestProgram>()
  for (const name of nodes) {
    const made = await volume(deployment, name)
    const args = [
      ...['--root-certificates', made.file('ca.crt'), '--ssl-client-certfile', made.file('tls.crt')],
      ...['--ssl-client-keyfile', made.file('tls.key'), '--health-server-address', '127.0.0.1:0'],
    ]
    programs.set(name, await deployment.startSupernode(name, args))
  }
  const swap = (name: string, files: Files): void => volumes.get(name)?.swap(files)
  const replacements = (said: string): number => said.match(/Replaced the /g)?.length ?? 0
  return { deployment, swap, programs, replacements }
}

async function listNodes(deployment: Deployment): Promise<Record<string, string>[]> {
  return JSON.parse((await deployment.flwr('supernode', 'ls', '--format', 'json')).stdout).nodes
}

test('a hundred renewals with new keys during a training fail no call and lose no round', async (t) => {
  const { deployment, swap, programs, replacements } = await startFleet(['node-1', 'node-2'])
  await using _ = deployment
  const before = await listNodes(deployment)
  const app = deployment.writeApp({
    server: countingServer,
    client: countingClient,
    config: 'rounds = 25\npause-ms = 200',
  })
  const running = deployment.flwr('run', app, '--stream')
  let last: Files = {}
  for (let round = 0; round < 100; round++) {
    const name = ['server', 'node-1', 'node-2'][round % 3] as string
    const files = await pair(deployment.ca, name, name === 'server' ? server : {})
    swap(name, files)
    if (name === 'node-1') last = files
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const serial = new X509Certificate(last['tls.crt'] as string).serialNumber
  const run = await running
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, /weights: 25 35/)
  assert.match(run.said, /'seen': 25\.0/)
  const counts = [...programs.values()].map((program) => replacements(program.said))
  const superlinkCount = replacements(deployment.superlink.said)
  t.diagnostic(`of 100 swaps under load, reloaded: SuperLink ${superlinkCount}, SuperNodes ${counts.join(' and ')}`)
  for (const count of [...counts, superlinkCount]) assert.ok(count >= 3, `${count} reloads`)
  for (const program of [deployment.superlink, ...programs.values()])
    assert.doesNotMatch(program.said, /Waiting for the SuperLink|Refused|Kept the|broke|ERROR/)
  await eventually('the last serial', async () =>
    (await listNodes(deployment)).some((node) => node['certificate-serial'] === serial),
  )
  const after = await listNodes(deployment)
  assert.deepEqual(
    after.map((node) => node['node-id']),
    before.map((node) => node['node-id']),
  )
  assert.ok(after.every(({ status }) => status === 'online'))
})

test('a CA is replaced (old, both, new) without restarting any program', async () => {
  const { deployment, swap, programs, replacements } = await startFleet(['node-1'])
  await using _ = deployment
  const { ca, directory, superlink } = deployment
  const node = programs.get('node-1') as TestProgram
  const [before] = await listNodes(deployment)
  const next = await TestCa.create(directory.path, 'ca2')
  const both = ca.issued.certificatePem + next.issued.certificatePem
  let steps = 0
  const step = async (issuer: TestCa, roots: string): Promise<void> => {
    steps += 1
    swap('server', await pair(issuer, 'server', server, roots))
    swap('node-1', await pair(issuer, 'node-1', {}, roots))
    const cli = await pair(issuer, 'cli', {}, roots)
    writeFileSync(directory.file('cli.pem'), cli['tls.crt'] as string)
    writeFileSync(directory.file('cli.key'), cli['tls.key'] as string)
    writeFileSync(ca.certfile, roots)
    // The SuperLink has two sets in its volume: its own pair, and the CAs that it trusts.
    await eventually(`step ${steps}`, () => replacements(node.said) >= steps && replacements(superlink.said) > steps)
    const nodes = await listNodes(deployment)
    assert.deepEqual([nodes[0]?.status, nodes[0]?.['node-id'], nodes.length], ['online', before?.['node-id'], 1])
  }
  const old = await pair(ca, 'cli')
  await step(ca, both)
  await step(next, both)
  await step(next, next.issued.certificatePem)

  const app = deployment.writeApp({ server: countingServer, client: countingClient, config: 'rounds = 2\nnodes = 1' })
  const run = await deployment.flwr('run', app, '--stream')
  assert.match(run.said, /weights: 2 12[\s\S]*finished:completed/)
  assert.doesNotMatch(node.said, /Waiting for the SuperLink|Kept the/)
  writeFileSync(directory.file('cli.pem'), old['tls.crt'] as string)
  writeFileSync(directory.file('cli.key'), old['tls.key'] as string)
  const late = await deployment.flwr('supernode', 'ls')
  assert.notEqual(late.status, 0)
  assert.match(late.said, /signed by .*CN=ca of the test|unknown/i)
})

/** Connections of certificates to the Control API, by the metrics of the SuperLink. */
async function openConnections(superlink: TestProgram): Promise<number> {
  const [, address] = await superlink.line(/health server on (\S+)/)
  const metrics = await (await fetch(`http://${address}/metrics`)).text()
  const line = /^trellis_connections\{listener="Control API",method="certificate"\} (\d+)$/m.exec(metrics)
  return Number(line?.[1] ?? 0)
}

/** The second round lasts until the test writes to the pipe `gate`. */
const gatedClient = `import { readFile } from 'node:fs/promises'
${countingClient.replace('const pauseMs', "if (seen === 2) await readFile(context.runConfig['gate'])\n    const pauseMs")}`

test('flwr follows a log through the renewal of its own certificate, and does not need the former one', async () => {
  const listFile = (deployment: Deployment): string => deployment.directory.file('list.crl')
  const { deployment } = await startFleet(['node-1'], async (self) => {
    writeFileSync(listFile(self), await self.ca.crl([], 1))
    return ['--ssl-client-crl', listFile(self)]
  })
  await using _ = deployment
  const { ca, directory, superlink } = deployment
  const { file } = directory
  const former = (await ca.issue('cli')).issued
  mkdirSync(file('former'))
  for (const name of ['cli.pem', 'cli.key']) copyFileSync(file(name), file(`former-${name}`))
  const config = readFileSync(join(deployment.environment.FLWR_HOME as string, 'config.toml'), 'utf8')
  writeFileSync(join(file('former'), 'config.toml'), config.replaceAll('/cli.', '/former-cli.'))
  execFileSync('mkfifo', [file('gate')])

  const settings = `rounds = 3\nnodes = 1\ngate = "${file('gate')}"`
  const app = deployment.writeApp({ server: countingServer, client: gatedClient, config: settings })
  const follower = deployment.start('flwr', ['run', app, '--stream'])
  await follower.line(/\[ROUND 2\/3\]/)
  const before = await openConnections(superlink)
  await ca.issue('cli')
  // The former one carries the stream of the log until it is cut off.
  await eventually('the new connection of the follower', async () => (await openConnections(superlink)) > before)
  writeFileSync(listFile(deployment), await ca.crl([former], 2))
  await eventually('the end of the former connection', async () => (await openConnections(superlink)) <= before)
  const late = await run('flwr', ['supernode', 'ls'], { env: { ...deployment.environment, FLWR_HOME: file('former') } })
  assert.match(late.said, /revoked/)

  await writeFile(file('gate'), '')
  assert.equal(await follower.end(), 0, follower.said)
  for (let round = 1; round <= 3; round++)
    assert.equal(follower.said.split(`[ROUND ${round}/3]`).length, 2, `round ${round} is logged once`)
  assert.match(follower.said, /weights: 3 13[\s\S]*finished:completed/)
})

test('an invalid set leaves the last good one in use, and is logged once', async () => {
  const { deployment, swap, programs } = await startFleet(['node-1'])
  await using _ = deployment
  const { ca, superlink } = deployment
  const node = programs.get('node-1') as TestProgram
  const day = 86_400_000
  const past = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }
  const faults: readonly [what: RegExp, spoil: (name: string, good: Files) => Promise<Files>][] = [
    [/not a PEM file/, async (_name, good) => ({ ...good, 'tls.crt': 'garbage' })],
    [
      /does not belong to the certificate/,
      async (name, good) => ({ ...good, 'tls.key': (await pair(ca, name))['tls.key'] as string }),
    ],
    [/has expired/, (name) => pair(ca, name, { ...(name === 'server' ? server : {}), ...past })],
    [
      /does not point to a file/,
      async (_name, { 'ca.crt': roots, 'tls.crt': chain }) => ({
        'ca.crt': roots as string,
        'tls.crt': chain as string,
      }),
    ],
  ]
  const kept = (program: TestProgram): number => program.said.match(/Kept the /g)?.length ?? 0
  for (const [index, [what, spoil]] of faults.entries()) {
    for (const name of ['server', 'node-1'])
      swap(name, await spoil(name, await pair(ca, name, name === 'server' ? server : {})))
    await eventually(`fault ${index}`, () => kept(node) > index && kept(superlink) > index)
    for (const program of [node, superlink]) assert.match(program.said.split('Kept the ').at(-1) ?? '', what)
  }
  const healthOf = async (program: TestProgram, path: string): Promise<string> => {
    const [, address] = await program.line(/health server on (\S+)/)
    return (await fetch(`http://${address}${path}`)).text()
  }
  for (const [program, files] of [
    [node, 'client certificate'],
    [superlink, 'server certificate'],
  ] as const) {
    assert.match(
      await healthOf(program, '/readyz'),
      new RegExp(`^ok\nThe ${files} in use is not the one in its files, `),
    )
    const counted = `trellis_tls_reloads_total{files="${files}",result="kept"} ${faults.length}`
    assert.ok((await healthOf(program, '/metrics')).includes(counted), counted)
  }
  const app = deployment.writeApp({ server: countingServer, client: countingClient, config: 'rounds = 1\nnodes = 1' })
  const run = await deployment.flwr('run', app, '--stream')
  assert.match(run.said, /weights: 1 11[\s\S]*finished:completed/)
  // The files were compared each second meanwhile, and nothing was told twice.
  assert.deepEqual([kept(node), kept(superlink)], [faults.length, faults.length])
  const renewal = async (): Promise<unknown> => (await listNodes(deployment))[0]?.['certificate-renewal']
  assert.equal(await renewal(), 'failing')
  for (const name of ['server', 'node-1']) swap(name, await pair(ca, name, name === 'server' ? server : {}))
  await node.line(/Replaced the client certificate/)
  await superlink.line(/Replaced the server certificate/)
  for (const program of [node, superlink]) assert.equal(await healthOf(program, '/readyz'), 'ok\n')
})

const slowClient = `
import { ClientApp } from 'trellis-fl'
export const app = new ClientApp().query(() => new Promise(() => {}))
`

test('a SuperNode that is no longer let in says why and ends, and its message becomes an error for the ServerApp', async () => {
  const policy = (node: string): string =>
    `[[allow]]\nidentity = "${node}"\nroles = ["supernode"]\n[[allow]]\nidentity = "cli"\nroles = ["cli"]\n`
  let file = ''
  await using deployment = await Deployment.create({
    mutualTls: true,
    async superlinkArguments({ directory }) {
      file = directory.file('policy.toml')
      writeFileSync(file, policy('node-*'))
      return ['--ssl-client-policy', file]
    },
  })
  const node = await deployment.startSupernode('node-1')
  const app = deployment.writeApp({ server: askingServer, client: slowClient, config: 'actions = "wait"\nttl = 60' })
  const running = deployment.flwr('run', app, '--stream')
  await node.line(/Received: query/)
  const startedAt = performance.now()
  writeFileSync(file, policy('node-2'))
  assert.equal(await node.end(), 1)
  const run = await running
  assert.match(run.said, /wait: error \d+ .*Node Unavailable/)
  assert.ok(performance.now() - startedAt < 50_000, 'at once, and not when its time to live or its heartbeats are over')
  assert.match(node.said, /Exit Code: 305\n.*node-1 as supernode/)
  assert.match(deployment.superlink.said, /A SuperNode was cut off/)
  const [listed] = await listNodes(deployment)
  assert.equal(listed?.status, 'offline')
})
