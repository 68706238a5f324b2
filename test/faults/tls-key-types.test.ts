import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import {
  canSign,
  type Damage,
  damages,
  everyKeyType,
  type KeyType,
  type MadeCertificate,
  makeCertificate,
  pemOf,
} from '../harness/key-types.ts'
import { MutualTlsSuperlink, refusalOf } from '../harness/mutual-tls.ts'

/** A chain that a peer may send, leaf first. A single good certificate signs where its keys cannot. */
interface PeerChain {
  readonly about: string
  readonly certificates: readonly MadeCertificate[]
}

const keys = everyKeyType()
const p256 = keys.find(({ name }) => name === 'prime256v1') as KeyType
const root = makeCertificate({ name: 'root', key: p256, isCa: true })
const good = makeCertificate({ name: 'good', key: p256, issuer: root, isCa: false })

/** Every kind of key as leaf, and as intermediate and root together: valid, and damaged in one way after the other. */
function everyChain(): PeerChain[] {
  const ways = Object.keys(damages) as Damage[]
  return keys.flatMap((key, index) => {
    const leaf = (issuer: MadeCertificate, of = p256): MadeCertificate =>
      makeCertificate({ name: 'leaf', key: of, issuer, isCa: false })
    const below = (damage?: Damage): readonly MadeCertificate[] => {
      const own = makeCertificate({ name: 'own root', key, isCa: true, damage })
      const middle = makeCertificate({ name: 'middle', key, issuer: own, isCa: true, damage })
      return [leaf(middle), middle, own]
    }
    const way = ways[index % ways.length] as Damage
    return [
      ...(canSign(key) ? [{ about: `${key.name} as leaf`, certificates: [leaf(root, key)] }] : []),
      { about: `${key.name} above`, certificates: below() },
      { about: `${key.name} above, with ${way}`, certificates: below(way) },
    ]
  })
}

const chainPem = ({ certificates }: PeerChain): string => certificates.map(pemOf).join('')
const keyPemOf = ({ certificates: [leaf] }: PeerChain): string =>
  (leaf as MadeCertificate).key.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string

/** Hostile peers load keys that OpenSSL takes for too small. */
const tlsOf = (chain: PeerChain): { cert: string; key: string; ciphers: string } => ({
  ...{ cert: chainPem(chain), key: keyPemOf(chain), ciphers: 'DEFAULT@SECLEVEL=0' },
})

function startChild(stack: DisposableStack, script: string, args: readonly string[] = []): ChildProcess {
  const stdio: ('pipe' | 'ignore' | 'ipc')[] = ['pipe', 'pipe', 'ignore', 'ipc']
  const execArgv = ['--conditions=source']
  const child = fork(join(import.meta.dirname, '..', 'harness', script), args, { stdio, execArgv })
  stack.defer(() => void child.kill('SIGKILL'))
  return child
}

/** Presents a chain and waits until the server ends the connection. Chains that our own TLS refuses to load are left out. */
async function present(port: number, chain: PeerChain): Promise<string> {
  let socket: TLSSocket
  try {
    const pair = tlsOf(chain)
    socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'], ...pair })
  } catch {
    return ''
  }
  let heard = ''
  socket
    .on('error', () => {})
    .on('data', (chunk: Buffer) => {
      heard += chunk.toString()
    })
  socket.write('GET /health HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n')
  await new Promise((resolve) => socket.once('close', resolve))
  return heard
}

test('a listener outlives every kind of key in a peer chain, and judges each', async (t) => {
  using stack = new DisposableStack()
  const directory = stack.use(temporaryDirectory())
  const file = (name: string, text: string): string => {
    writeFileSync(directory.file(name), text)
    return directory.file(name)
  }
  const listener = startChild(stack, 'judging-listener.ts', [
    file('cert.pem', pemOf(good)),
    file('key.pem', keyPemOf({ about: '', certificates: [good] })),
    file('ca.pem', pemOf(root)),
  ])
  const ended = once(listener, 'exit')
  const [port] = await once(listener.stdout as NonNullable<ChildProcess['stdout']>, 'data')
  const chains = everyChain()
  let refusals = 0
  for (const chain of chains) {
    const heard = await present(Number(port), chain)
    assert.equal(listener.signalCode ?? listener.exitCode, null, `the listener ended at: ${chain.about}`)
    if (/^HTTP\/1\.1 401 /.test(heard)) refusals += 1
  }
  t.diagnostic(`${keys.length} kinds of keys, ${chains.length} chains, ${refusals} refused with a reason`)
  assert.ok(refusals > keys.length * 2.5, `only ${refusals} chains were judged`)
  assert.match(await present(Number(port), { about: 'good', certificates: [good] }), /^HTTP\/1\.1 200 /)
  listener.stdin?.end()
  assert.deepEqual(await ended, [0, null])
})

test('a client outlives every kind of key in the chain of its server', async (t) => {
  using stack = new DisposableStack()
  const server = createServer(tlsOf({ about: 'good', certificates: [good] }))
  server.on('tlsClientError', () => {})
  server.on('secureConnection', (socket) => socket.on('error', () => {}))
  let staple: Buffer | null = null
  server.on('OCSPRequest', (_leaf: Buffer, _issuer: Buffer, done: (error: null, der: Buffer | null) => void) =>
    done(null, staple),
  )
  server.listen(0, '127.0.0.1')
  stack.defer(() => void server.close())
  await once(server, 'listening')
  const client = startChild(stack, 'dialling-client.ts')
  const ended = once(client, 'exit')
  const outcomes = new Map<string, string>()
  const dial = async (chain: PeerChain): Promise<unknown[]> => {
    const own = chain.certificates.at(-1) as MadeCertificate
    client.send({ port: (server.address() as AddressInfo).port, rootsPem: pemOf(root) + pemOf(own) })
    const outcome = await Promise.race([once(client, 'message'), ended])
    assert.equal(client.signalCode ?? client.exitCode, null, `the client ended at: ${chain.about}`)
    return outcome
  }
  const chains = everyChain()
  for (const chain of chains) {
    try {
      server.setSecureContext(tlsOf(chain))
    } catch {
      continue
    }
    const [outcome] = await dial(chain)
    outcomes.set(chain.about, String(outcome))
  }
  const connected = [...outcomes.values()].filter((outcome) => outcome === 'connected').length
  t.diagnostic(`${chains.length} chains, ${connected} trusted`)
  // These reach the comparison of names, which crashed, and then the OCSP response.
  staple = Buffer.from('no OCSP response')
  for (const key of ['secp256k1', 'brainpoolP256r1', 'sect283k1']) {
    assert.equal(outcomes.get(`${key} above`), 'connected', key)
    const chain = chains.find(({ about }) => about === `${key} above`) as PeerChain
    server.setSecureContext(tlsOf(chain))
    assert.match(String(await dial(chain)), /OCSP answer that is not to be believed/)
  }
  client.disconnect()
  assert.deepEqual(await ended, [0, null])
})

test('no port of a SuperLink is ended by a CA key on a curve without a NIST name', async () => {
  await using superlink = await MutualTlsSuperlink.start()
  const key = keys.find(({ name }) => name === 'secp256k1') as KeyType
  const stray = makeCertificate({ name: 'stray', key, isCa: true })
  const leaf = makeCertificate({ name: 'leaf', key: p256, issuer: stray, isCa: false })
  const chain = { about: 'stray', certificates: [leaf, stray] }
  const pair = { certificatePem: chainPem(chain), keyPem: keyPemOf(chain) }
  for (const listener of ['fleet', 'control', 'main'] as const) {
    for (const transport of ['grpc', 'http'] as const) {
      const call = superlink.connect(listener, pair, transport).call(Fleet.method.registerNode, {})
      assert.equal(await refusalOf(call), 'unknown-ca', `${listener} over ${transport}`)
    }
  }
})
