import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import { backoffMs } from '../src/base/retry.ts'
import { Fleet } from '../src/gen/flwr/proto/fleet_pb.ts'
import { parseCertificate } from '../src/identity/certificate.ts'
import { generateNodeKey, type NodeKey, signNodeCall } from '../src/identity/node-key.ts'
import { pemCertificates } from '../src/identity/pem.ts'
import { type Issued, issue } from '../src/identity/pki.ts'
import { issueCrl } from '../src/identity/pki-crl.ts'
import { readCrls, revocationOf } from '../src/identity/revocation/crls.ts'
import { fixedTlsSource } from '../src/identity/tls-source.ts'
import { type Channel, createChannel, RpcError } from '../src/rpc/channel.ts'
import { TestCa, validFor } from '../test/harness/certificates.ts'
import { start, type TestProgram } from '../test/harness/program.ts'
import { randomFrom } from '../test/harness/random.ts'

/** What mutual TLS costs: by certificates beside by keys, in the same run, on the same machine. */
export interface TlsFigures {
  readonly crl: { readonly entries: number; readonly loadMs: number; readonly lookupMicroseconds: number }
  readonly certificates: ModeFigures
  readonly keys: ModeFigures
  /** With 1,000 connections open, for a list of 100,000 entries and for a policy: slowest call of another node meanwhile. */
  readonly reload: { readonly crlStallMs: number; readonly policyStallMs: number; readonly calmMs: number }
}

export interface ModeFigures {
  readonly handshakesPerSecond: number
  readonly callsPerSecond: number
  /** 1,000 nodes come back at once: seconds until the last is online. */
  readonly stormSeconds: number
}

const random = randomFrom(1)
const handshakes = 600
const nodes = 1000
const entries = 100_000
const callsMs = 4000

export async function measureTls(directory: string): Promise<TlsFigures> {
  const ca = await TestCa.create(directory)
  await ca.server()
  const large = await issueCrl(
    {
      revoked: Array.from({ length: entries }, (_, index) => ({
        serial: `4${(index * 7919).toString(16).padStart(31, '0')}`,
        at: new Date(),
      })),
      number: 2n,
      thisUpdate: new Date(Date.now() - 60_000),
      nextUpdate: new Date(Date.now() + 3600_000),
    },
    ca.issued,
  )
  return {
    crl: await measureCrl(directory, ca, large),
    certificates: await measureMode(directory, ca, 'certificates'),
    keys: await measureMode(directory, ca, 'keys'),
    reload: await measureReload(directory, ca, large),
  }
}

async function measureCrl(directory: string, ca: TestCa, pem: string): Promise<TlsFigures['crl']> {
  const path = join(directory, 'large.crl')
  writeFileSync(path, pem)
  const certificateOf = ({ certificatePem }: Issued) =>
    parseCertificate(pemCertificates(certificatePem)[0] as Uint8Array)
  const issuer = certificateOf(ca.issued)
  const leaf = certificateOf((await ca.issue('leaf')).issued)
  const startedAt = performance.now()
  const { crls } = await readCrls({ flag: 'bench', path }, [issuer], { now: Date.now() })
  const loadMs = performance.now() - startedAt
  const { check } = revocationOf(crls, () => ({ unavailable: undefined, graceMs: 0 }))
  check(leaf, issuer, Date.now())
  const lookups = 100_000
  const lookedAt = performance.now()
  for (let index = 0; index < lookups; index++) check(leaf, issuer, Date.now())
  return { entries, loadMs, lookupMicroseconds: ((performance.now() - lookedAt) * 1000) / lookups }
}

type Mode = 'certificates' | 'keys'

interface Peer {
  readonly issued: Issued | undefined
  readonly key: NodeKey
}

async function startSuperlink(
  directory: string,
  ca: TestCa,
  args: readonly string[],
): Promise<{ program: TestProgram; address: string }> {
  const file = (name: string): string => join(directory, name)
  const program = start('flower-superlink', [
    ...['--ssl-ca-certfile', ca.certfile, '--ssl-certfile', file('server.pem'), '--ssl-keyfile', file('server.key')],
    ...['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0', '--port', '0'],
    ...['--isolation', 'process', ...args],
  ])
  const [, address = ''] = await program.line(/Starting Fleet API on (\S+)/, 300_000)
  return { program, address }
}

async function measureMode(directory: string, ca: TestCa, mode: Mode): Promise<ModeFigures> {
  const { program, address } = await startSuperlink(
    directory,
    ca,
    mode === 'certificates' ? ['--ssl-require-client-auth'] : [],
  )
  await using _ = program
  const peer = async (name: string): Promise<Peer> => ({
    key: generateNodeKey(),
    issued:
      mode === 'certificates'
        ? await issue({ commonName: name, usages: ['client'], ...validFor(1) }, ca.issued)
        : undefined,
  })
  const first = await peer('first')
  const handshakesPerSecond = await countHandshakes(address, ca, first)
  const callsPerSecond = await countCalls(address, ca, first, mode)
  const crowd = await Promise.all(Array.from({ length: nodes }, (_, index) => peer(`node-${index}`)))
  const startedAt = performance.now()
  const channels = await Promise.all(crowd.map((one) => comeBack(address, ca, one, mode)))
  const stormSeconds = (performance.now() - startedAt) / 1000
  for (const { channel } of channels) channel.close()
  return { handshakesPerSecond, callsPerSecond, stormSeconds }
}

function channelOf(address: string, ca: TestCa, { issued }: Peer): Channel {
  const tls = fixedTlsSource({
    rootsPem: ca.issued.certificatePem,
    ...(issued ? { certificate: { chainPem: issued.certificatePem, keyPem: issued.keyPem } } : {}),
  })
  return createChannel({ address, tls, transport: 'grpc', component: 'load' })
}

/** As a SuperNode comes: registered by itself, then online. */
async function joinFleet(
  address: string,
  ca: TestCa,
  peer: Peer,
  mode: Mode,
): Promise<{ channel: Channel; nodeId: bigint }> {
  const channel = channelOf(address, ca, peer)
  const publicKey = peer.key.publicKeyPem
  const signed = async () => ({
    ...(mode === 'keys' ? await signNodeCall(peer.key, Date.now()) : {}),
    timeoutMs: 60_000,
  })
  try {
    await channel.call(Fleet.method.registerNode, { publicKey }, await signed()).catch((error: unknown) => {
      // The reply to an earlier attempt was lost.
      if (!(error instanceof RpcError && /already in use/.test(error.message))) throw error
    })
    const request = { publicKey, heartbeatInterval: 60 }
    const { message } = await channel.call(Fleet.method.activateNode, request, await signed())
    return { channel, nodeId: message.nodeId }
  } catch (error) {
    channel.close()
    throw error
  }
}

/** Joins as often as it takes: a SuperLink admits only so many new connections at a time, and a busy one is slow. */
async function comeBack(...options: Parameters<typeof joinFleet>): ReturnType<typeof joinFleet> {
  const pauses = backoffMs()
  for (;;) {
    try {
      return await joinFleet(...options)
    } catch (error) {
      if (!(error instanceof RpcError) || !(error.retryable || error.status === 'deadline-exceeded')) throw error
      await delay(pauses.next().value)
    }
  }
}

async function countHandshakes(address: string, ca: TestCa, { issued }: Peer): Promise<number> {
  const [host, port] = address.split(':') as [string, string]
  const options = {
    ...{ host, port: Number(port), ca: ca.issued.certificatePem, ALPNProtocols: ['http/1.1'] },
    ...(issued ? { cert: issued.certificatePem, key: issued.keyPem } : {}),
  }
  /** Whether the peer was judged and got its response; a busy SuperLink closes connections that wait too long. */
  const one = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(options, () => socket.write('GET /health HTTP/1.1\r\nhost: bench\r\n\r\n'))
      socket.once('data', () => {
        resolve(true)
        socket.destroy()
      })
      socket.once('close', () => resolve(false)).on('error', () => {})
    })
  let judged = 0
  let tries = 0
  const startedAt = performance.now()
  const again = async (): Promise<void> => {
    while (judged < handshakes && tries++ < 10 * handshakes) if (await one()) judged++
  }
  await Promise.all(Array.from({ length: 16 }, again))
  if (judged < handshakes) throw new Error(`${judged} of ${tries} connections got a response`)
  return judged / ((performance.now() - startedAt) / 1000)
}

/** Heartbeats a second of one node, 100 at a time, signed one by one where keys are used. */
async function countCalls(address: string, ca: TestCa, peer: Peer, mode: Mode): Promise<number> {
  const { channel, nodeId } = await joinFleet(address, ca, peer, mode)
  using _ = channel
  const endsAt = performance.now() + callsMs
  let count = 0
  const again = async (): Promise<void> => {
    while (performance.now() < endsAt) {
      const signature = mode === 'keys' ? await signNodeCall(peer.key, Date.now()) : {}
      await channel.call(Fleet.method.sendNodeHeartbeat, { node: { nodeId }, heartbeatInterval: 60 }, signature)
      count += 1
    }
  }
  await Promise.all(Array.from({ length: 100 }, again))
  return count / (callsMs / 1000)
}

async function measureReload(directory: string, ca: TestCa, large: string): Promise<TlsFigures['reload']> {
  const file = (name: string): string => join(directory, name)
  writeFileSync(file('list.crl'), await ca.crl([], 1))
  writeFileSync(file('policy.toml'), '[[allow]]\nidentity = "*"\nroles = ["supernode"]\n')
  const flags = ['--ssl-client-crl', file('list.crl'), '--ssl-client-policy', file('policy.toml')]
  const { program, address } = await startSuperlink(directory, ca, ['--ssl-require-client-auth', ...flags])
  await using _ = program
  const { issued } = await ca.issue('reload')
  const crowd: Channel[] = []
  let opening = 0
  const openMore = async (): Promise<void> => {
    while (crowd.length + opening < nodes) {
      opening += 1
      const channel = channelOf(address, ca, { issued, key: generateNodeKey() })
      const error: unknown = await channel.call(Fleet.method.pullMessages, { node: { nodeId: 1n } }).catch((e) => e)
      opening -= 1
      if (!(error instanceof RpcError) || error.kind === 'peer') crowd.push(channel)
      else {
        channel.close()
        await delay(random(500))
      }
    }
  }
  // Not all at once: on a busy machine this process could complete none of so many handshakes in time.
  await Promise.all(Array.from({ length: 50 }, openMore))
  const good = await joinFleet(
    address,
    ca,
    { issued: (await ca.issue('good')).issued, key: generateNodeKey() },
    'certificates',
  )
  const slowestOf = async (change: () => void, ms = 2500): Promise<number> => {
    change()
    let slowest = 0
    for (const endsAt = performance.now() + ms; performance.now() < endsAt; ) {
      const startedAt = performance.now()
      await good.channel.call(Fleet.method.sendNodeHeartbeat, { node: { nodeId: good.nodeId }, heartbeatInterval: 60 })
      slowest = Math.max(slowest, performance.now() - startedAt)
    }
    return slowest
  }
  const replace = (name: string, text: string): void => {
    writeFileSync(file('next'), text)
    renameSync(file('next'), file(name))
  }
  const calmMs = await slowestOf(() => {})
  const policyStallMs = await slowestOf(() =>
    replace('policy.toml', '[[allow]]\nidentity = "**"\nroles = ["supernode"]\n'),
  )
  const crlStallMs = await slowestOf(() => replace('list.crl', large))
  for (const channel of [...crowd, good.channel]) channel.close()
  return { crlStallMs, policyStallMs, calmMs }
}
