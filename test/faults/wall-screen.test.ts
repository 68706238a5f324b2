import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import type { Issued } from '../../src/identity/pki.ts'
import type { FleetState } from '../../src/web/model.ts'
import { MutualTlsSuperlink } from '../harness/mutual-tls.ts'
import { eventually } from '../harness/program.ts'
import { emptyFab } from '../harness/superlink-core.ts'

/** The dashboard that a SuperLink serves itself, asked as browsers do, with and without rights. */

const token = 'k'.repeat(40)
const policy = (...accounts: string[]): string =>
  [...accounts.map((name) => [name, 'cli']), ['site-*', 'supernode']]
    .map(([name, role]) => `[[allow]]\nidentity = "${name}"\nroles = ["${role}"]\n`)
    .join('')

async function startWall(more: (file: (name: string) => string) => readonly string[] = () => []) {
  return await MutualTlsSuperlink.start((file) => {
    writeFileSync(file('policy.toml'), policy('alice', 'bob'))
    writeFileSync(file('token'), `${token}\n`)
    return ['--ssl-client-policy', file('policy.toml'), '--dashboard-address', '127.0.0.1:0', ...more(file)]
  })
}

/** Sends a request to the dashboard, with a certificate or without, and returns the response once its head is there. */
async function ask(
  deployment: MutualTlsSuperlink,
  path: string,
  { issued, body, ...options }: RequestOptions & { issued?: Issued; body?: string } = {},
): Promise<IncomingMessage> {
  const asked = request({
    ...{ host: '127.0.0.1', port: deployment.superlink.screens?.address.port, path, agent: false },
    ca: deployment.ca.issued.certificatePem,
    ...(issued ? { cert: issued.certificatePem, key: issued.keyPem } : {}),
    ...options,
  })
  asked.end(body)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return response
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

/** The data of the first event with this name that is good. */
async function eventOf<T>(
  response: IncomingMessage,
  name: string,
  isGood: (data: T) => boolean = () => true,
): Promise<T> {
  assert.equal(response.statusCode, 200)
  let text = ''
  for await (const chunk of response) {
    text += chunk
    for (const [, data = ''] of text.matchAll(new RegExp(`event: ${name}\\ndata: (.*)\\n\\n`, 'g')))
      if (isGood(JSON.parse(data))) return JSON.parse(data)
  }
  throw new Error(`no such event in ${text}`)
}

const isLooked = ({ at }: FleetState): boolean => at !== ''

async function startRun(deployment: MutualTlsSuperlink, issued: Issued): Promise<string> {
  const control = deployment.connect('control', issued)
  const { message } = await control.call(Control.method.startRun, { fab: { content: emptyFab() } })
  return String(message.runId)
}

test('a wall screen shows each certificate what flwr shows it, changes nothing, and closes when it is no longer allowed', async () => {
  await using deployment = await startWall()
  const { ca, file } = deployment
  const { issued: alice } = await ca.issue('alice')
  const { issued: bob } = await ca.issue('bob')
  const { issued: site } = await ca.issue('site-1')
  const runId = await startRun(deployment, alice)
  const page = await ask(deployment, '/', { issued: alice })
  assert.match(String(page.headers['content-security-policy']), /^default-src 'none'; script-src 'self'/)
  assert.match(await textOf(page), /<div id="page">/)
  const own = await eventOf(await ask(deployment, '/api/fleet', { issued: alice }), 'fleet', isLooked)
  assert.deepEqual([own.readOnly, own.runs.map(({ id }) => id)], [true, [runId]])
  const others = await eventOf(await ask(deployment, '/api/fleet', { issued: bob }), 'fleet', isLooked)
  assert.deepEqual(others.runs, [])
  const { sentence } = await eventOf<{ sentence: string }>(
    await ask(deployment, `/api/runs/${runId}`, { issued: bob }),
    'problem',
  )
  assert.match(sentence, /Run ID not found/)

  // Nothing changes, and no log is shown.
  const stop = { method: 'POST', headers: { 'content-type': 'application/json' } }
  assert.equal((await ask(deployment, `/api/runs/${runId}/stop`, { issued: alice, ...stop })).statusCode, 405)
  for (const path of [`/api/runs/${runId}/log`, '/api/nothing'])
    assert.equal((await ask(deployment, path, { issued: alice })).statusCode, 404)
  assert.equal((await ask(deployment, '/api/fleet', { issued: alice, method: 'HEAD' })).statusCode, 404)
  const foreign = { issued: alice, headers: { 'sec-fetch-site': 'cross-site' } }
  assert.equal((await ask(deployment, '/api/fleet', foreign)).statusCode, 404)

  // Those without a right hear why, and the audit log has a line for each.
  assert.match(await textOf(await ask(deployment, '/')), /requires a client certificate/)
  assert.match(await textOf(await ask(deployment, '/', { issued: site })), /policy/)
  const audited = readFileSync(file('audit.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>)
    .filter(({ listener, decision }) => listener === 'Dashboard' && decision === 'refuse')
    .map(({ method, reason }) => [method, reason])
  assert.deepEqual(audited, [
    ['/flwr.proto.Control/StreamRunEvents', 'run-of-another-account'],
    ['connect', 'no-certificate'],
    ['connect', 'role-not-granted'],
  ])

  const open = await ask(deployment, '/api/fleet', { issued: alice })
  const ended = textOf(open).then(
    () => 'ended',
    () => 'ended',
  )
  writeFileSync(file('new.toml'), policy('bob'))
  renameSync(file('new.toml'), file('policy.toml'))
  assert.equal(await ended, 'ended')
  await eventually('the refusal of the account', async () =>
    /policy/.test(await textOf(await ask(deployment, '/', { issued: alice }))),
  )
})

test('a token opens the wall screen without a certificate, for reading as no admin, and a wrong one is refused', async () => {
  await using deployment = await startWall((file) => ['--dashboard-token-file', file('token')])
  const { issued: alice } = await deployment.ca.issue('alice')
  const runId = await startRun(deployment, alice)
  // Browsers prefer HTTP/2, which the page is not served over.
  const { superlink, ca } = deployment
  const browser = connect({
    ...{ host: '127.0.0.1', port: superlink.screens?.address.port, ca: ca.issued.certificatePem },
    ALPNProtocols: ['h2', 'http/1.1'],
  })
  await once(browser, 'secureConnect')
  assert.equal(browser.alpnProtocol, 'http/1.1')
  browser.destroy()
  assert.match(await textOf(await ask(deployment, '/')), /<form method="post" action="\/enter">/)
  assert.equal((await ask(deployment, '/api/fleet')).statusCode, 403)
  const form = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
  for (const body of [`token=${'x'.repeat(40)}`, 'token=', '', 'x'.repeat(10_000)])
    assert.equal((await ask(deployment, '/enter', { ...form, body })).statusCode, 403)
  const entered = await ask(deployment, '/enter', { ...form, body: `token=${token}` })
  const [cookie = ''] = entered.headers['set-cookie'] ?? []
  assert.equal(entered.statusCode, 303)
  assert.match(cookie, /^trellis-screen=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/; Max-Age=31536000; Secure$/)
  const headers = { cookie: cookie.split(';')[0] as string }
  const state = await eventOf(await ask(deployment, '/api/fleet', { headers }), 'fleet', isLooked)
  assert.deepEqual(
    state.runs.map(({ id }) => id),
    [runId],
  )
  const forged = { cookie: 'trellis-screen=guess' }
  assert.equal((await ask(deployment, '/api/fleet', { headers: forged })).statusCode, 403)
  // A certificate is its own account also here.
  const own = await eventOf(await ask(deployment, '/api/fleet', { issued: alice }), 'fleet', isLooked)
  assert.deepEqual(
    own.runs.map(({ id }) => id),
    [runId],
  )
  // Guesses soon leave no more lines.
  let guesses = 0
  for (let count = 0; count < 20; count++) {
    const { statusCode } = await ask(deployment, '/enter', { ...form, body: 'token=guess' })
    if (statusCode === 403) guesses += 1
    else assert.equal(statusCode, 429)
  }
  assert.ok(guesses < 20)
  assert.equal((await ask(deployment, '/', { headers })).statusCode, 200)
  const lines = readFileSync(deployment.file('audit.jsonl'), 'utf8')
  assert.equal(lines.match(/"listener":"Dashboard","method":"token"[^\n]*wrong-token/g)?.length, 4 + guesses)
  assert.doesNotMatch(lines, new RegExp(token))
})
