import assert from 'node:assert/strict'
import { once } from 'node:events'
import { renameSync, writeFileSync } from 'node:fs'
import { type ClientHttp2Session, connect, type SecureClientSessionOptions } from 'node:http2'
import { test } from 'node:test'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import type { Issued } from '../../src/identity/pki.ts'
import type { TestCa } from '../harness/certificates.ts'
import { FakeClock, letPass } from '../harness/fake-clock.ts'
import { joinFleet, MutualTlsSuperlink, refusalOf } from '../harness/mutual-tls.ts'
import { processorTime } from '../harness/processor-time.ts'
import { eventually } from '../harness/program.ts'

const staying = 990
const withdrawn = 10

/** The ways to take ten away while 990 stay. */
const ways = [
  {
    name: 'left out by the policy',
    reason: 'role-not-granted',
    flag: '--ssl-client-policy',
    file: 'policy.toml',
    before: async () => policy('*'),
    after: async () => policy('stays-*'),
  },
  {
    name: 'revoked',
    reason: 'revoked-by-crl',
    flag: '--ssl-client-crl',
    file: 'ca.crl',
    before: (ca: TestCa) => ca.crl([], 1),
    after: (ca: TestCa, gone: readonly Issued[]) => ca.crl(gone, 2),
  },
] as const

test('of 1,010 open connections ten are left out by the policy and ten are revoked: these hear why, and no other peer notices', async (t) => {
  await using deployment = await MutualTlsSuperlink.start(async (file, authority) => {
    for (const way of ways) writeFileSync(file(way.file), await way.before(authority))
    return ways.flatMap((way) => [way.flag, file(way.file)])
  })
  const { ca, superlink, file } = deployment
  const { issued } = await ca.issue('stays-0')
  const sessions: ClientHttp2Session[] = []
  for (let group = 1; sessions.length < staying - 1; group++) {
    const { certificatePem, keyPem } = (await ca.issue(`stays-${group}`)).issued
    const options = { ca: ca.issued.certificatePem, cert: certificatePem, key: keyPem }
    const count = Math.min(200, staying - 1 - sessions.length)
    sessions.push(...(await connectMany(count, superlink.fleet.address.port, options)))
  }
  const good = deployment.connect('fleet', issued)
  const goodId = await joinFleet(good)
  const join = (name: string) =>
    Promise.all(
      Array.from({ length: withdrawn }, async (_, index) => {
        const { issued } = await ca.issue(`${name}-${index}`)
        const channel = deployment.connect('fleet', issued)
        return { channel, issued, nodeId: await joinFleet(channel) }
      }),
    )
  // In the order of `ways`: the policy lets the names of the second group stay.
  const groups = [await join('goes'), await join('stays-until')]

  const beat = async (): Promise<void> => {
    const request = { node: { nodeId: goodId }, heartbeatInterval: 30 }
    assert.ok((await good.call(Fleet.method.sendNodeHeartbeat, request)).message.success)
  }
  for (let warm = 0; warm < 100; warm++) await beat()
  for (const [index, way] of ways.entries()) {
    const leaving = groups[index] ?? []
    const left = staying + (ways.length - 1 - index) * withdrawn
    await eventually('all connections', () => superlink.fleet.connections().length === left + withdrawn)
    // Processor time of both ends: a call that waits for a thousand judgements would cost as much.
    let slowestMs = 0
    let calls = 0
    let watching = true
    const watch = (async () => {
      while (watching) {
        const processor = processorTime()
        await beat()
        slowestMs = Math.max(slowestMs, processor())
        calls++
      }
    })()
    const held = leaving.map(async ({ channel, nodeId }) => {
      const pull = channel.call(Fleet.method.pullMessages, { node: { nodeId } }, { waitMs: 25_000 })
      return [await refusalOf(pull), performance.now()] as const
    })
    const next = await way.after(
      ca,
      leaving.map(({ issued }) => issued),
    )
    const startedAt = performance.now()
    slowestMs = 0
    calls = 0
    writeFileSync(file('next'), next)
    renameSync(file('next'), file(way.file))

    const heard = await Promise.all(held)
    await eventually('the end of ten connections', () => superlink.fleet.connections().length === left)
    const closedMs = performance.now() - startedAt
    watching = false
    await watch
    const lastMs = Math.max(...heard.map(([, at]) => at - startedAt))
    t.diagnostic(
      `${way.name}, of ${left + withdrawn}: all ${withdrawn} told after ${lastMs.toFixed(0)} ms and closed after ${closedMs.toFixed(0)} ms; ` +
        `${calls} calls of another meanwhile, the slowest with ${slowestMs.toFixed(0)} ms of processor time`,
    )
    assert.deepEqual([...new Set(heard.map(([reason]) => reason))], [way.reason])
    assert.ok(calls > 0, 'no call of another was answered meanwhile')
    assert.ok(slowestMs < 250, `a call took ${slowestMs} ms of processor time`)
    assert.ok(sessions.every((session) => !session.destroyed && !session.closed))
  }

  // The apps that wait for their replies hear that they are gone.
  const cli = deployment.connect('control', (await ca.issue('cli')).issued)
  const { message } = await cli.call(Control.method.listNodes, {})
  const online = message.nodesInfo.filter(({ status }) => status === 'online').map(({ nodeId }) => nodeId)
  assert.deepEqual(online, [goodId])
  for (const session of sessions) session.destroy()
})

test('a connection ends with its certificate, and one that is not valid yet is let in once it is', async () => {
  const clock = new FakeClock(Date.now())
  await using deployment = await MutualTlsSuperlink.start(undefined, undefined, clock)
  const hour = 3600_000
  // Dates of certificates are whole seconds.
  const noon = Math.ceil(clock.now() / 1000) * 1000 + hour
  const short = await deployment.ca.issue('short', { notBefore: new Date(noon - 2 * hour), notAfter: new Date(noon) })
  const early = await deployment.ca.issue('early', { notBefore: new Date(noon), notAfter: new Date(noon + hour) })
  const channel = deployment.connect('fleet', short.issued)
  const nodeId = await joinFleet(channel)
  await assert.rejects(joinFleet(deployment.connect('fleet', early.issued)), {
    refusalReason: 'certificate-not-yet-valid',
  })
  const held = refusalOf(channel.call(Fleet.method.pullMessages, { node: { nodeId } }, { waitMs: 25_000 }))
  await eventually('the held call', () => deployment.superlink.fleet.connections().length === 1)

  clock.advance(noon - clock.now() - 1000)
  const beat = { node: { nodeId }, heartbeatInterval: 30 }
  assert.ok((await channel.call(Fleet.method.sendNodeHeartbeat, beat)).message.success, 'a second before')
  let heard = ''
  held.then((reason) => {
    heard = reason
  })
  await letPass(clock, 'the end of the connection', () => heard !== '')
  assert.equal(heard, 'certificate-expired')
  assert.ok(clock.now() >= noon)
  assert.ok((await joinFleet(deployment.connect('fleet', early.issued))) > 0n)
  await assert.rejects(joinFleet(deployment.connect('fleet', short.issued)), { refusalReason: 'certificate-expired' })
})

function policy(supernodes: string): string {
  return `[[allow]]\nidentity = "${supernodes}"\nroles = ["supernode"]\n[[allow]]\nidentity = "cli"\nroles = ["cli"]\n`
}

/** Opens connections that stay idle. They send no request: over HTTP/1.1 the SuperLink would close them half a minute later. */
async function connectMany(
  count: number,
  port: number,
  options: SecureClientSessionOptions,
): Promise<ClientHttp2Session[]> {
  const sessions: ClientHttp2Session[] = []
  const one = async (): Promise<ClientHttp2Session> => {
    const session = connect(`https://127.0.0.1:${port}`, options)
    await once(session, 'connect')
    return session.on('error', () => {})
  }
  while (sessions.length < count)
    sessions.push(...(await Promise.all(Array.from({ length: Math.min(32, count - sessions.length) }, one))))
  return sessions
}
