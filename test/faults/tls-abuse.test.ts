import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { Worker } from 'node:worker_threads'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { type Issued, issue } from '../../src/identity/pki.ts'
import { fixedTlsSource } from '../../src/identity/tls-source.ts'
import { type Channel, createChannel, type RpcError } from '../../src/rpc/channel.ts'
import { type AttackName, attackNames, type Target } from '../harness/attacks.ts'
import { TestCa, validFor } from '../harness/certificates.ts'
import { Deployment } from '../harness/deployment.ts'
import { MutualTlsSuperlink, somePublicKey } from '../harness/mutual-tls.ts'
import { processorTime } from '../harness/processor-time.ts'

test('hostile clients cost a bounded amount, and a good one is served meanwhile', async (t) => {
  await using deployment = await Deployment.create({ mutualTls: true, superlinkArguments: ['--isolation', 'process'] })
  const { ca, directory, superlink } = deployment
  const foreign = await TestCa.create(directory.path, 'foreign')
  const good = (await ca.issue('good')).issued
  const target: Target = {
    port: Number(deployment.fleetAddress.split(':')[1]),
    ca: ca.issued.certificatePem,
    valid: await Promise.all(
      Array.from({ length: 10 }, async (_, index) => pairOf((await ca.issue(`hostile-${index}`)).issued)),
    ),
    refused: pairOf((await foreign.issue('stranger')).issued),
  }
  const open = (): Channel =>
    createChannel({
      ...{ address: deployment.fleetAddress, transport: 'grpc', component: 'test' },
      tls: fixedTlsSource({
        rootsPem: ca.issued.certificatePem,
        certificate: { chainPem: good.certificatePem, keyPem: good.keyPem },
      }),
      headers: { 'trellis-process': 'good' },
    })
  using channel = open()
  const request = { publicKey: somePublicKey, heartbeatInterval: 30 }
  const { nodeId } = (await channel.call(Fleet.method.activateNode, request)).message
  const beat = (over: Channel) =>
    over.call(Fleet.method.sendNodeHeartbeat, { node: { nodeId }, heartbeatInterval: 30 }, { timeoutMs: 30_000 })
  const megabytes = (): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${superlink.pid}/status`, 'utf8'))?.[1]) / 1024

  /** Calls again and again until that is over, and 50 times more in a row. Returns how long they took, in milliseconds, sorted. */
  const measure = async (until: Promise<unknown> = Promise.resolve()): Promise<number[]> => {
    const took: number[] = []
    let left = Number.POSITIVE_INFINITY
    const reached = until.then(() => {
      left = 50
    })
    while (left-- > 0) {
      const startedAt = performance.now()
      assert.ok((await beat(channel)).message.success)
      took.push(performance.now() - startedAt)
      // To open a thousand connections takes a while.
      if (left > 50) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await reached
    return took.toSorted((a, b) => a - b)
  }
  const times = (sorted: readonly number[]): string => {
    const [p50, p99, worst] = [0.5, 0.99, 1].map((part) => sorted[Math.ceil(sorted.length * part) - 1] ?? 0)
    return `p50 ${p50?.toFixed(1)} ms, p99 ${p99?.toFixed(1)} ms, worst ${worst?.toFixed(1)} ms`
  }

  for (let warm = 0; warm < 200; warm++) await beat(channel)
  t.diagnostic(`in calm: ${times(await measure())}`)
  const before = megabytes()
  for (const name of attackNames) {
    await using attack = startAttack(name, target)
    const sorted = await measure(attack.ready)
    const count = await attack.end()
    const used = megabytes()
    t.diagnostic(
      `${name} (${count}): ${sorted.length} good calls, ${times(sorted)}; ${(used - before).toFixed(0)} MB more memory`,
    )
    assert.ok(count > 0, `${name}: nothing was tried`)
    assert.ok(used - before < 400, `${name}: ${used - before} MB`)
    // A newcomer gets in as soon as that is over.
    using newcomer = open()
    assert.ok((await beat(newcomer)).message.success)
  }
  assert.equal(superlink.hasEnded, false)
})

test('certificates with a hundred names, long chains and large ones are judged in no time or not at all', async (t) => {
  await using deployment = await MutualTlsSuperlink.start()
  const { ca } = deployment
  const names = Array.from({ length: 100 }, (_, index) => `name-${index}.example`)
  const many = await ca.issue('many', { uris: names.map((name) => `spiffe://${name}/x`) })
  const hosts = await ca.issue('hosts', { dns: names })
  let issuer = ca.issued
  let chain = ''
  for (let depth = 0; depth < 12; depth++) {
    issuer = await issue({ commonName: `CA ${depth}`, ca: true, ...validFor(1) }, issuer)
    chain = issuer.certificatePem + chain
  }
  const leaf = await issue({ commonName: 'deep', usages: ['client'], ...validFor(1) }, issuer)
  const deep = { certificatePem: leaf.certificatePem + chain, keyPem: leaf.keyPem }
  const { issued: big } = await ca.issue('big')
  const large = { ...big, certificatePem: big.certificatePem + chain.repeat(50) }
  const join = async (issued: Issued): Promise<string> => {
    const processor = processorTime()
    const call = deployment
      .connect('fleet', issued)
      .call(Fleet.method.activateNode, { publicKey: somePublicKey, heartbeatInterval: 30 })
    const answer = await call.then(
      () => 'let in',
      (error: RpcError) => error.refusalReason ?? error.kind,
    )
    const tookMs = processor()
    t.diagnostic(`${answer} after ${tookMs.toFixed(0)} ms of processor time`)
    assert.ok(tookMs < 2000, `${tookMs} ms`)
    return answer
  }
  assert.equal(await join(many.issued), 'ambiguous-identity')
  assert.equal(await join(hosts.issued), 'let in')
  assert.equal(await join(deep), 'malformed-certificate')
  // OpenSSL takes no more than 100 KB of certificates, and ends the handshake.
  const processor = processorTime()
  const { port } = deployment.superlink.fleet.address
  const socket = connectTls({ host: '127.0.0.1', port, ca: ca.issued.certificatePem, ...pairOf(large) })
  await new Promise((resolve) =>
    socket
      .on('error', () => {})
      .resume()
      .once('close', resolve),
  )
  const tookMs = processor()
  t.diagnostic(`too many certificates: closed after ${tookMs.toFixed(0)} ms of processor time`)
  assert.ok(tookMs < 2000, `${tookMs} ms`)
  assert.equal(await join((await ca.issue('after')).issued), 'let in')
})

const pairOf = ({ certificatePem, keyPem }: Issued) => ({ cert: certificatePem, key: keyPem })

/** Runs until `end`, which returns how often it did what it does. */
function startAttack(name: AttackName, target: Target) {
  const worker = new Worker(join(import.meta.dirname, '..', 'harness', 'attacks.ts'), { workerData: { name, target } })
  const ready = Promise.withResolvers<void>()
  const done = Promise.withResolvers<number>()
  worker.on('message', (message: 'ready' | number) => (message === 'ready' ? ready.resolve() : done.resolve(message)))
  worker.once('error', (error) => {
    ready.reject(error)
    done.reject(error)
  })
  return {
    ready: ready.promise,
    end(): Promise<number> {
      worker.postMessage('stop')
      return done.promise
    },
    async [Symbol.asyncDispose]() {
      await worker.terminate()
    },
  }
}
