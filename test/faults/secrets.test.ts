import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { countingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { eventually, processesWith, run } from '../harness/program.ts'

/** What other programs of this machine can read of a process. */
interface Seen {
  readonly program: string
  readonly text: string
}

function look(marker: string, seen: Map<string, Seen>): void {
  for (const { pid, command } of processesWith(marker)) {
    const program = /bin\/start\.mjs\0(\S+?)\0/.exec(command)?.[1] ?? command.split('\0')[0] ?? ''
    try {
      seen.set(`${pid} ${command}`, { program, text: `${command}\n${readFileSync(`/proc/${pid}/environ`, 'utf8')}` })
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Replies once there is this file. */
const clientWaitingFor = (path: string): string => `
import { existsSync } from 'node:fs'
import { ArrayRecord, ClientApp, MetricRecord, RecordDict } from 'trellis-fl'
export const app = new ClientApp()
  .train(async (message) => {
    while (!existsSync(${JSON.stringify(path)})) await new Promise((resolve) => setTimeout(resolve, 50))
    const metrics = new MetricRecord({ 'num-examples': 1 })
    return message.reply(new RecordDict({ arrays: message.content.arrays('arrays'), metrics }))
  })
  .evaluate((message) => message.reply(new RecordDict({ metrics: new MetricRecord({ 'num-examples': 1, loss: 0.5 }) })))
`

/** The middle lines of a private key: the first and last are alike in all of them. */
function bodyOf(keyfile: string): string {
  return readFileSync(keyfile, 'utf8').split('\n')[1] as string
}

test('no secret of a deployment is in logs, arguments, environments of others, reports, events or metrics', async () => {
  const superexecSecret = randomBytes(24).toString('hex')
  const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`
  const webhookPath = randomBytes(12).toString('hex')
  const password = randomBytes(12).toString('hex')
  const files = { superexec: '', webhook: '' }
  const options = (directory: Deployment['directory']): string[] => [
    ...['--isolation', 'process', '--superexec-auth-secret-file', files.superexec],
    ...['--serverappio-api-address', '127.0.0.1:0', '--health-server-address', '127.0.0.1:0'],
    // No program listens there, so each attempt is an error that is logged.
    ...['--webhook', `https://127.0.0.1:9/${webhookPath}`, '--webhook-secret-file', files.webhook],
    ...['--audit-log', directory.file('audit.jsonl'), '--log-file', directory.file('superlink.log')],
  ]
  await using deployment = await Deployment.create({
    mutualTls: true,
    superlinkEnvironment: { PGPASSWORD: password },
    async superlinkArguments({ directory }) {
      files.superexec = directory.file('superexec.secret')
      files.webhook = directory.file('webhook.secret')
      writeFileSync(files.superexec, superexecSecret)
      writeFileSync(files.webhook, webhookSecret)
      return options(directory)
    },
  })
  const { directory, ca, environment } = deployment
  const [, health] = await deployment.superlink.line(/health server on (\S+)/)
  const superexec = deployment.start('flower-superexec', [
    ...['--root-certificates', ca.certfile, '--runtime-api-address', deployment.mainAddress],
    ...['--superexec-auth-secret-file', files.superexec],
  ])
  const node = await deployment.startSupernode('node-1')

  const marker = environment.FLWR_HOME as string
  const seen = new Map<string, Seen>()
  const go = directory.file('go')
  const client = clientWaitingFor(go)
  const app = deployment.writeApp({ server: countingServer, client, config: 'nodes = 1\nrounds = 1' })
  const follower = deployment.start('flwr', ['run', app, '--stream'])
  const servers = ['flower-superlink', 'flower-supernode', 'flower-superexec']
  await eventually('the sight of all programs', () => {
    look(marker, seen)
    const programs = new Set([...seen.values()].map(({ program }) => program))
    return [...servers, 'flwr-serverapp', 'flwr-clientapp'].every((program) => programs.has(program))
  })
  writeFileSync(go, '')
  assert.equal(await follower.end(), 0, follower.said)
  await follower.heard()
  // Given by the operator: it shows that arguments and environments were read.
  const own = [...seen.values()].find(({ program }) => program === 'flower-superlink')
  assert.ok(own?.text.includes(webhookPath) && own.text.includes(password))

  // A SuperLink that cannot read its secret names the file, not what it holds.
  writeFileSync(directory.file('bad.secret'), `${webhookSecret} ${webhookSecret}`)
  const tls = ['--ssl-ca-certfile', ca.certfile, '--ssl-certfile', directory.file('server.pem')]
  const keys = ['--ssl-keyfile', directory.file('server.key'), '--ssl-require-client-auth']
  const refused = await run('flower-superlink', [
    ...[...tls, ...keys, '--webhook', `https://127.0.0.1:9/${webhookPath}`],
    ...['--webhook-secret-file', directory.file('bad.secret')],
  ])
  assert.notEqual(refused.status, 0)
  const doctor = await run('flower-superlink', [
    ...['doctor', ...tls, ...keys, '--database', directory.file('state.db'), ...options(directory)],
  ])
  assert.equal(doctor.status, 0, doctor.said)
  const events = await deployment.flwr('events', '--format', 'json')
  assert.match(events.stdout, /run\.finished/)
  const texts: Record<string, string> = {
    superlink: deployment.superlink.said,
    supernode: node.said,
    superexec: superexec.said,
    'flwr run': follower.said,
    'refused start': refused.said,
    doctor: doctor.said,
    events: events.said,
    runs: (await deployment.flwr('ls', '--format', 'json')).said,
    nodes: (await deployment.flwr('supernode', 'ls', '--format', 'json')).said,
    log: readFileSync(directory.file('superlink.log'), 'utf8'),
    audit: existsSync(directory.file('audit.jsonl')) ? readFileSync(directory.file('audit.jsonl'), 'utf8') : '',
    metrics: await (await fetch(`http://${health}/metrics`)).text(),
  }
  const secrets: Record<string, string> = {
    'the secret of the SuperExec': superexecSecret,
    'the secret of the webhook': webhookSecret.slice('whsec_'.length),
    'the path of the webhook': webhookPath,
    'the password of the database': password,
    'the key of the SuperLink': bodyOf(directory.file('server.key')),
    'the key of the SuperNode': bodyOf(directory.file('node-1.key')),
    'the key of the user': bodyOf(directory.file('cli.key')),
  }
  const leaks: string[] = []
  for (const [what, secret] of Object.entries(secrets)) {
    for (const [where, text] of Object.entries(texts)) if (text.includes(secret)) leaks.push(`${what} in ${where}`)
    for (const { program, text } of seen.values()) {
      // The operator gave the URL and this variable to the SuperLink.
      const isOwn = program === 'flower-superlink' && (secret === webhookPath || secret === password)
      if (text.includes(secret) && !isOwn) leaks.push(`${what} in what can be read of ${program}`)
    }
  }
  assert.deepEqual(leaks, [])
})
