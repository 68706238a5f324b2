import assert from 'node:assert/strict'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { buildFab } from '../../src/fab/bundle.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { type RefusalReason, refusalReasons } from '../../src/identity/caller.ts'
import { generateNodeKey, signNodeCall } from '../../src/identity/node-key.ts'
import { type Issued, issue } from '../../src/identity/pki.ts'
import { issueCrl } from '../../src/identity/pki-crl.ts'
import { refusalSentence } from '../../src/identity/refusal-sentence.ts'
import { type Channel, RpcError } from '../../src/rpc/channel.ts'
import { countingClient, countingServer } from '../harness/apps.ts'
import { TestCa, validFor } from '../harness/certificates.ts'
import { constraints, dnsName } from '../harness/chains.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { freePort } from '../harness/free-port.ts'
import { MutualTlsSuperlink, somePublicKey } from '../harness/mutual-tls.ts'
import { startResponder } from '../harness/ocsp-responder.ts'
import { eventually, run } from '../harness/program.ts'
import { writeApp } from '../harness/write-app.ts'

const heartbeatInterval = 30
const activate = (channel: Channel, publicKey = somePublicKey): Promise<bigint> =>
  channel.call(Fleet.method.activateNode, { publicKey, heartbeatInterval }).then(({ message }) => message.nodeId)

async function refusalOf(call: Promise<unknown>): Promise<RpcError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof RpcError, `refused with an RpcError, not ${String(error)}`)
  return error
}

test('a peer whose certificate is not good is told why over either door, and its connection is closed', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  using elsewhere = temporaryDirectory()
  const foreign = await TestCa.create(elsewhere.path, 'foreign')
  const { ca } = deployment
  const day = 86_400_000
  const intermediate = await issue(
    { commonName: 'intermediate', organization: 'X', ca: true, ...validFor(1) },
    ca.issued,
  )
  const last = await issue({ commonName: 'last', ca: true, pathLength: 0, ...validFor(1) }, ca.issued)
  const beyond = await issue({ commonName: 'beyond', ca: true, ...validFor(1) }, last)
  const cases: readonly [reason: string, status: string, issued: Issued | undefined, sentence: RegExp][] = [
    ['no-certificate', 'unauthenticated', undefined, /requires a client certificate and none was presented/],
    [
      'unknown-ca',
      'unauthenticated',
      (await foreign.issue('node')).issued,
      /not signed by a CA that this SuperLink trusts/,
    ],
    [
      'unknown-ca',
      'unauthenticated',
      await issue({ commonName: 'x', ...validFor(1) }, intermediate),
      /not signed by a CA/,
    ],
    [
      'certificate-expired',
      'unauthenticated',
      (await ca.issue('old', { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }))
        .issued,
      /has expired/,
    ],
    [
      'certificate-not-yet-valid',
      'unauthenticated',
      (await ca.issue('new', { notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 2 * day) }))
        .issued,
      /not valid yet .*clocks/,
    ],
    [
      'wrong-extended-key-usage',
      'unauthenticated',
      (await ca.issue('s', { usages: ['server'] })).issued,
      /usages: \[client auth\]/,
    ],
    [
      'wrong-key-usage',
      'unauthenticated',
      (await ca.issue('k', { keyUsage: 0x20 })).issued,
      /lacks key usage digitalSignature/,
    ],
    ['ca-used-as-client', 'unauthenticated', ca.issued, /CA certificate was presented as client/],
    [
      'invalid-chain',
      'unauthenticated',
      chained(await issue({ commonName: 'y', ...validFor(1) }, beyond), beyond, last),
      /CN=last allows fewer intermediates/,
    ],
    [
      'ambiguous-identity',
      'unauthenticated',
      (await ca.issue('u', { uris: ['spiffe://a/1', 'spiffe://a/2'] })).issued,
      /exactly one/,
    ],
    [
      'no-identity',
      'unauthenticated',
      await issue({ organization: 'only', usages: ['client'], ...validFor(1) }, ca.issued),
      /has no usable name/,
    ],
  ]
  for (const transport of ['grpc', 'http'] as const) {
    for (const [reason, status, issued, sentence] of cases) {
      const channel = deployment.connect('fleet', issued, transport)
      const error = await refusalOf(activate(channel))
      assert.equal(error.refusalReason, reason, `${transport} ${reason}: ${error.message}`)
      assert.equal(error.status, status)
      assert.match(error.message, sentence)
      const control = await refusalOf(
        deployment.connect('control', issued, transport).call(Control.method.listRuns, {}),
      )
      assert.equal(control.refusalReason, reason)
    }
  }
  await eventually(
    'the end of all refused connections',
    () => deployment.superlink.fleet.connections().length === 0,
    5000,
  )

  // A chain that leads to the CA is good when the intermediate comes along, and no other node was made.
  const good = chained(await issue({ commonName: 'good', ...validFor(1) }, intermediate), intermediate)
  await activate(deployment.connect('fleet', good))
  const { message } = await deployment
    .connect('control', (await ca.issue('cli')).issued)
    .call(Control.method.listNodes, {})
  assert.deepEqual(
    message.nodesInfo.map((node) => node.identity),
    ['good'],
  )
})

test('every reason to refuse a connection has its code at the peer, its label among the metrics, and its line in the audit log', async () => {
  const health = `127.0.0.1:${await freePort()}`
  await using stack = new AsyncDisposableStack()
  // Another client CA, whose list is of yesterday.
  const fleetRoot = await issue({ commonName: 'Root', organization: 'Fleet', ca: true, ...validFor(1) })
  const fleetMid = await issue({ commonName: 'Mid', organization: 'Fleet', ca: true, ...validFor(1) }, fleetRoot)
  const [thisUpdate, nextUpdate] = [new Date(Date.now() - 7200_000), new Date(Date.now() - 3600_000)]
  const outdated = await issueCrl({ revoked: [], number: 1n, thisUpdate, nextUpdate }, fleetRoot)
  const revoked: { issued?: Issued; byOcsp?: Issued } = {}
  const deployment = stack.use(
    await MutualTlsSuperlink.start(async (file, ca) => {
      const { responder, url } = await startResponder(ca)
      stack.use(responder)
      revoked.issued = (await ca.issue('revoked')).issued
      revoked.byOcsp = (await ca.issue('gone', { ocspUrl: url })).issued
      await run('flwr', ['pki', 'revoke', 'gone', '--directory', ca.directory])
      writeFileSync(file('lists.pem'), `${await ca.crl([revoked.issued], 1)}${outdated}`)
      writeFileSync(file('cas.pem'), `${ca.issued.certificatePem}${fleetRoot.certificatePem}`)
      writeFileSync(
        file('policy.toml'),
        `[[allow]]\nidentity = "*"\nroles = ["cli"]\n[[ca]]\nfile = "ca.crt"\norganizations = ["", "Hospital A"]\n`,
      )
      return [
        ...['--ssl-client-policy', file('policy.toml'), '--ssl-client-crl', file('lists.pem')],
        ...['--ssl-client-ca-certfile', file('cas.pem'), '--ssl-client-ocsp', 'lax', '--health-server-address', health],
      ]
    }),
  )
  const { ca } = deployment
  using elsewhere = temporaryDirectory()
  const foreign = await TestCa.create(elsewhere.path, 'foreign')
  const ofHospital = {
    commonName: 'limited',
    ca: true,
    ...validFor(1),
    ...constraints({ permitted: [dnsName('a.example')] }),
  }
  const limited = await issue(ofHospital, ca.issued)
  const made = async (name: string, request: Parameters<TestCa['issue']>[1] = {}): Promise<Issued> =>
    (await ca.issue(name, request)).issued
  const dated = (from: number, to: number) => ({
    notBefore: new Date(Date.now() + from * 3600_000),
    notAfter: new Date(Date.now() + to * 3600_000),
  })
  const intermediate = await issue({ commonName: 'mid', ca: true, ...validFor(1) }, ca.issued)
  const unlisted = chained(await issue({ commonName: 'below', ...validFor(1) }, intermediate), intermediate)
  const peers: Partial<Record<RefusalReason, Issued | undefined>> = {
    'no-certificate': undefined,
    'unknown-ca': (await foreign.issue('x')).issued,
    'certificate-expired': await made('old', dated(-2, -1)),
    'certificate-not-yet-valid': await made('new', dated(1, 2)),
    'invalid-chain': await made('limited', { criticalExtension: '1.2.3.4' }),
    'weak-key-or-signature': await made('sha1', { digest: 'SHA-1' }),
    'name-not-permitted': chained(await issue({ commonName: 'a.other.example', ...validFor(1) }, limited), limited),
    'missing-intermediate': await issue({ commonName: 'alone', ...validFor(1) }, fleetMid),
    'wrong-key-usage': await made('k', { keyUsage: 0x20 }),
    'wrong-extended-key-usage': await made('s', { usages: ['server'] }),
    'ca-used-as-client': ca.issued,
    'no-identity': await made('n', { commonName: '' }),
    'ambiguous-identity': await made('u', { uris: ['spiffe://a/1', 'spiffe://a/2'] }),
    'organization-not-allowed': await made('o', { organization: 'Hospital B' }),
    'revoked-by-crl': revoked.issued,
    'revoked-by-ocsp': revoked.byOcsp,
    'revocation-unknown': await issue({ commonName: 'unheard', ...validFor(1) }, fleetRoot),
    'role-not-granted': await made('node'),
  }
  for (const [reason, issued] of Object.entries(peers)) {
    const error = await refusalOf(activate(deployment.connect('fleet', issued)))
    assert.equal(error.refusalReason, reason, error.message)
    const [start = ''] = refusalSentence(reason as RefusalReason, '…').split(' (…)')
    assert.ok(error.message.startsWith(start), error.message)
  }
  // An intermediate without a list of its own is no reason: its CA has one.
  assert.equal((await refusalOf(activate(deployment.connect('fleet', unlisted)))).refusalReason, 'role-not-granted')

  const metrics = await (await fetch(`http://${health}/metrics`)).text()
  const lines = readFileSync(deployment.file('audit.jsonl'), 'utf8').trim().split('\n')
  const audited = lines.map((line) => JSON.parse(line)).filter(({ decision }) => decision === 'refuse')
  for (const reason of Object.keys(peers)) {
    const count = reason === 'role-not-granted' ? 2 : 1
    assert.match(
      metrics,
      new RegExp(`^trellis_peer_refusals_total\\{listener="Fleet API",reason="${reason}"\\} ${count}$`, 'm'),
    )
    assert.equal(audited.filter((line) => line.reason === reason).length, count, reason)
  }
  // The others belong to calls, or need hundreds of connections or bytes that no TLS library sends; other tests show them.
  const others = refusalReasons.filter((reason) => !(reason in peers))
  assert.deepEqual(others, [
    ...['malformed-certificate', 'too-many-connections', 'node-of-another-identity', 'identity-in-use'],
    ...['node-blocked', 'message-of-another', 'run-of-another-account', 'admin-required'],
  ])
})

test('the policy says which peers may be SuperNodes and which may use the Control API', async () => {
  await using deployment = await MutualTlsSuperlink.start((file) => {
    writeFileSync(
      file('policy.toml'),
      `[identity]
source = "uri"
[[allow]]
identity = "spiffe://fl.example/supernode/*"
roles = ["supernode"]
[[allow]]
organization = "Coordinators"
roles = ["cli"]
`,
    )
    return ['--ssl-client-policy', file('policy.toml')]
  })
  const node = (await deployment.ca.issue('n', { uris: ['spiffe://fl.example/supernode/7'] })).issued
  const person = (await deployment.ca.issue('p', { uris: ['spiffe://fl.example/ada'], organization: 'Coordinators' }))
    .issued
  await activate(deployment.connect('fleet', node))
  await deployment.connect('control', person).call(Control.method.listRuns, {})
  for (const transport of ['grpc', 'http'] as const) {
    for (const refused of [
      () => activate(deployment.connect('fleet', person, transport)),
      () => deployment.connect('control', node, transport).call(Control.method.listRuns, {}),
      () => deployment.connect('main', node, transport).call(Control.method.listRuns, {}),
    ]) {
      const error = await refusalOf(refused())
      assert.equal(error.status, 'permission-denied')
      assert.equal(error.refusalReason, 'role-not-granted')
      assert.match(error.message, /add an \[\[allow\]\] entry/)
    }
  }
})

test('a node id stays with its identity over a new key, certificate and CA, and no other identity can take it', async () => {
  using elsewhere = temporaryDirectory()
  const next = await TestCa.create(elsewhere.path, 'next')
  await using deployment = await MutualTlsSuperlink.start((file) => {
    writeFileSync(file('clients.crt'), readFileSync(file('ca.crt'), 'utf8') + next.issued.certificatePem)
    return ['--ssl-client-ca-certfile', file('clients.crt')]
  })
  const { ca } = deployment
  const ids: bigint[] = []
  for (const issuer of [ca, ca, next]) {
    const channel = deployment.connect('fleet', (await issuer.issue('node-1')).issued)
    ids.push(await activate(channel, generateNodeKey().publicKeyPem))
    channel.close()
    await eventually('the end of the connection', () => deployment.superlink.fleet.connections().length === 0)
  }
  const [nodeId = 0n] = ids
  assert.deepEqual(ids, [nodeId, nodeId, nodeId])
  const other = deployment.connect('fleet', (await ca.issue('node-2')).issued)
  const otherId = await activate(other)
  assert.notEqual(otherId, nodeId)
  for (const call of [
    () => other.call(Fleet.method.pullMessages, { node: { nodeId } }),
    () => other.call(Fleet.method.sendNodeHeartbeat, { node: { nodeId }, heartbeatInterval }),
    () => other.call(Fleet.method.pushMessages, { node: { nodeId } }),
    () => other.call(Fleet.method.getRun, { node: { nodeId }, runId: 1n }),
    () => other.call(Fleet.method.pullObject, { node: { nodeId }, runId: 1n, objectId: 'x' }),
    () => other.call(Fleet.method.deactivateNode, { nodeId }),
    () => other.call(Fleet.method.unregisterNode, { nodeId }),
    () => other.call(Fleet.method.pullMessages, {}),
  ]) {
    const error = await refusalOf(call())
    assert.equal(error.refusalReason, 'node-of-another-identity')
    assert.equal(error.status, 'permission-denied')
  }
})

test('a second SuperNode with the same identity is refused while the first is connected, and takes over at once when it is gone', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  const { issued } = await deployment.ca.issue('node-1')
  const first = deployment.connect('fleet', issued)
  const nodeId = await activate(first)
  const second = deployment.connect('fleet', issued)
  const error = await refusalOf(activate(second))
  assert.equal(error.refusalReason, 'identity-in-use')
  assert.match(error.message, /identity-sharing = "allow"/)
  first.close()
  await eventually('the end of the first connection', () => deployment.superlink.fleet.connections().length === 1)
  assert.equal(await activate(second), nodeId)
})

test('a process keeps its node over all its connections, and no other process comes in beside it', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  const { issued } = await deployment.ca.issue('node-1')
  const connect = (process: string, transport?: 'grpc' | 'http'): Channel =>
    deployment.connect('fleet', issued, transport, { 'trellis-process': process })
  const beat = (channel: Channel, nodeId: bigint): Promise<unknown> =>
    channel.call(Fleet.method.sendNodeHeartbeat, { node: { nodeId }, heartbeatInterval })
  const first = connect('first', 'http')
  const nodeId = await activate(first)
  // The same process over another connection, as after a network that went away without a word.
  const again = connect('first')
  await beat(again, nodeId)
  assert.equal(await activate(again), nodeId)

  const second = connect('second')
  for (const call of [
    () => activate(second),
    () => beat(second, nodeId),
    () => second.call(Fleet.method.deactivateNode, { nodeId }),
  ])
    assert.equal((await refusalOf(call())).refusalReason, 'identity-in-use')
  first.close()
  again.close()
  await eventually('the end of the first process', () => deployment.superlink.fleet.connections().length === 1)
  assert.equal(await activate(second), nodeId)
  assert.equal((await refusalOf(beat(connect('first'), nodeId))).refusalReason, 'identity-in-use')
})

test('of two SuperNodes with one identity that come at the same time one is let in', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  const { issued } = await deployment.ca.issue('node-1')
  const channels = ['a', 'b', 'c'].map((process) =>
    deployment.connect('fleet', issued, 'grpc', { 'trellis-process': process }),
  )
  const ends = await Promise.allSettled(channels.map((channel) => activate(channel)))
  assert.equal(ends.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const end of ends) if (end.status === 'rejected') assert.equal(end.reason.refusalReason, 'identity-in-use')
})

test('a SuperNode with a certificate that signs with a key proves both', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  const { issued } = await deployment.ca.issue('node-1')
  const key = generateNodeKey()
  const now = Date.now()
  const signed = await signNodeCall(key, now)
  const call = (headers: typeof signed, publicKey: Uint8Array) =>
    deployment
      .connect('fleet', issued)
      .call(Fleet.method.activateNode, { publicKey, heartbeatInterval }, { ...headers })
  const forged = { ...signed, binaryHeaders: { ...signed.binaryHeaders, 'flwr-signature': Buffer.from('nonsense') } }
  assert.equal((await refusalOf(call(forged, key.publicKeyPem))).status, 'unauthenticated')
  const other = generateNodeKey().publicKeyPem
  assert.equal((await refusalOf(call(signed, other))).status, 'unauthenticated', 'another key than the one it proves')
  assert.ok((await call(signed, key.publicKeyPem)).message.nodeId > 0n)
})

test('runs belong to the identity that started them', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  const fab = {
    content: buildFab(writeApp(deployment.file('app'), { server: countingServer, client: countingClient })).bytes,
  }
  const ada = deployment.connect('control', (await deployment.ca.issue('ada', { organization: 'Lab' })).issued)
  const bob = deployment.connect('control', (await deployment.ca.issue('bob')).issued)
  const { runId = 0n } = (await ada.call(Control.method.startRun, { fab })).message
  const runsOf = async (channel: Channel) =>
    Object.values((await channel.call(Control.method.listRuns, {})).message.runDict)
  assert.deepEqual(
    (await runsOf(ada)).map((run) => [run.runId, run.flwrAid, run.accountName, run.organization]),
    [[runId, 'ada', 'ada', 'Lab']],
  )
  assert.deepEqual(await runsOf(bob), [])
})

test('a shared identity makes every process a node of its own where the policy allows it', async () => {
  await using deployment = await MutualTlsSuperlink.start((file) => {
    writeFileSync(file('policy.toml'), '[identity]\nidentity-sharing = "allow"\n')
    return ['--ssl-client-policy', file('policy.toml')]
  })
  const { issued } = await deployment.ca.issue('pool')
  const ids = await Promise.all(
    [1, 2].map(() => activate(deployment.connect('fleet', issued), generateNodeKey().publicKeyPem)),
  )
  assert.notEqual(ids[0], ids[1])
})

test('registering a key is not needed, says so, and changes nothing', async () => {
  await using deployment = await MutualTlsSuperlink.start()
  const control = deployment.connect('control', (await deployment.ca.issue('cli')).issued)
  const error = await refusalOf(control.call(Control.method.registerNode, { publicKey: Buffer.from('x') }))
  assert.match(error.message, /Not needed and nothing was changed/)
})

test('the audit log has every refusal and every change, with identity, address and reason, and nothing secret', async () => {
  await using deployment = await MutualTlsSuperlink.start((file) => {
    const everybody = '[[allow]]\nidentity = "*"\nroles = ["supernode", "cli"]\n'
    writeFileSync(file('policy.toml'), `${everybody}[[allow]]\nidentity = "ada"\nroles = ["admin"]\n`)
    return ['--ssl-client-policy', file('policy.toml')]
  })
  const { issued } = await deployment.ca.issue('node-1', { organization: 'Hospital A' })
  const node = deployment.connect('fleet', issued)
  const nodeId = await activate(node)
  await refusalOf(activate(deployment.connect('fleet', undefined)))
  await refusalOf(node.call(Fleet.method.pullMessages, { node: { nodeId: nodeId + 1n } }))
  await node.call(Fleet.method.deactivateNode, { nodeId })
  const fab = {
    content: buildFab(writeApp(deployment.file('app'), { server: countingServer, client: countingClient })).bytes,
  }
  const person = deployment.connect('control', (await deployment.ca.issue('ada')).issued)
  const { runId = 0n } = (await person.call(Control.method.startRun, { fab })).message
  await person.call(Control.method.listRuns, {})
  await person.call(Control.method.stopRun, { runId })
  await person.call(Control.method.unregisterNode, { nodeId })
  await refusalOf(deployment.connect('main', undefined).call(Runtime.method.pullTaskInput, {}))
  await refusalOf(deployment.connect('main', undefined).call(Control.method.stopRun, { runId }))
  const lines = await eventually('the lines', () => {
    const text = readFileSync(deployment.file('audit.jsonl'), 'utf8')
    const parsed = text
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
    return parsed.length >= 11 && parsed
  })
  const seen = lines.map(({ method, decision, reason }) => `${method} ${decision} ${reason}`.trim())
  assert.deepEqual(seen, [
    'connect allow',
    '/flwr.proto.Fleet/ActivateNode allow',
    'connect refuse no-certificate',
    '/flwr.proto.Fleet/PullMessages refuse node-of-another-identity',
    '/flwr.proto.Fleet/DeactivateNode allow',
    'connect allow',
    '/flwr.proto.Control/StartRun allow',
    '/flwr.proto.Control/StopRun allow',
    '/flwr.proto.Control/UnregisterNode allow',
    '/flwr.proto.Runtime/PullTaskInput refuse token-invalid',
    '/flwr.proto.Control/StopRun refuse no-certificate',
  ])
  const [, activated] = lines
  assert.equal(activated.identity, 'node-1')
  assert.equal(activated.organization, 'Hospital A')
  assert.equal(activated.listener, 'Fleet API')
  assert.match(activated.serial, /^[0-9A-F]+$/)
  assert.match(activated.fingerprint, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
  assert.match(activated.peer, /^127\.0\.0\.1:\d+$/)
  assert.match(activated.time, /^\d{4}-.*Z$/)
  assert.doesNotMatch(JSON.stringify(lines), /PRIVATE|BEGIN/)

  // Rotated by an outside tool: moved away, then told.
  const file = deployment.file('audit.jsonl')
  renameSync(file, `${file}.1`)
  process.kill(process.pid, 'SIGUSR1')
  await eventually('the new file', () => existsSync(file))
  await refusalOf(deployment.connect('main', undefined).call(Control.method.stopRun, { runId }))
  await eventually('its first line', () => /StopRun/.test(readFileSync(file, 'utf8')))
})

/** A leaf with its issuers behind it, as a client sends it. */
function chained(leaf: Issued, ...issuers: Issued[]): Issued {
  return { certificatePem: [leaf, ...issuers].map((one) => one.certificatePem).join(''), keyPem: leaf.keyPem }
}
