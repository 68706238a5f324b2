import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { signNodeCall } from '../../src/identity/node-key.ts'
import { TestCa } from '../../test/harness/certificates.ts'
import type { BareCommand, BareReport } from '../bare-server.ts'
import { type Flower, withDeployment } from '../deployment.ts'
import { cpuSecondsOf } from '../processes.ts'
import type { LoadCommand, LoadNode, LoadReport } from './load-process.ts'

/** Heartbeats of SuperNodes at one SuperLink with a database file: the smallest call there is. */
export interface HeartbeatFigures {
  readonly connections: number
  readonly callsAtOnce: number
  readonly ours: HeartbeatRate
  /** A server of Node that does nothing but respond; see `bare-server.ts`. */
  readonly bare: HeartbeatRate
  /** With TLS and registered keys; absent without Python. */
  readonly theirs: HeartbeatRate | undefined
}

export interface HeartbeatRate {
  readonly perSecond: number
  /** Processor time of server and load generator for a heartbeat. */
  readonly serverMicroseconds: number
  readonly loadMicroseconds: number
}

/** One SuperNode with a hundred calls under way, and many with one each. */
const shapes = [
  { connections: 1, callsAtOnce: 100, besideFlower: true },
  { connections: 100, callsAtOnce: 1, besideFlower: true },
  { connections: 1000, callsAtOnce: 1, besideFlower: false },
] as const
const warmUpMs = 2000
const measureMs = 5000
const answerMs = 120_000

/** Measures each shape with fresh servers, in a fresh folder below `directory`. */
export async function measureHeartbeats(
  { ours, theirs }: { readonly ours: Flower; readonly theirs: Flower | undefined },
  directory: string,
): Promise<HeartbeatFigures[]> {
  const figures: HeartbeatFigures[] = []
  for (const { connections, callsAtOnce, besideFlower } of shapes) {
    const rateOf = (flower: Flower, name: string): Promise<HeartbeatRate> =>
      withDeployment(
        flower,
        join(directory, `${name}-${connections}`),
        0,
        async ({ ca, fleetAddress, superlinkPid }) => {
          const port = Number(fleetAddress.split(':').at(-1))
          return beatAt({ pid: superlinkPid, callsAtOnce, nodes: await nodesOf(flower, ca, port, connections) })
        },
      )
    figures.push({
      ...{ connections, callsAtOnce },
      ours: await rateOf(ours, 'trellis'),
      bare: await rateOfBareServer(directory, ours, { connections, callsAtOnce }),
      theirs: theirs && besideFlower ? await rateOf(theirs, 'flower') : undefined,
    })
  }
  return figures
}

async function nodesOf(flower: Flower, ca: TestCa, port: number, count: number): Promise<LoadNode[]> {
  const nodes: LoadNode[] = []
  const peer = { host: '127.0.0.1', port, ca: ca.issued.certificatePem }
  for (let index = 0; index < count; index++) {
    const { key, certificate } = await flower.loadCredential(ca, `load-${index}`)
    const { headers, binaryHeaders } = flower.signsCalls
      ? await signNodeCall(key, Date.now())
      : { headers: {}, binaryHeaders: {} }
    const binary = Object.entries(binaryHeaders).map(([name, value]) => [
      `${name}-bin`,
      Buffer.from(value).toString('base64'),
    ])
    nodes.push({
      peer: { ...peer, ...(certificate ? { cert: certificate.chainPem, key: certificate.keyPem } : {}) },
      publicKey: key.publicKeyPem,
      headers: { ...headers, ...Object.fromEntries(binary) },
    })
  }
  return nodes
}

async function rateOfBareServer(
  directory: string,
  flower: Flower,
  { connections, callsAtOnce }: { readonly connections: number; readonly callsAtOnce: number },
): Promise<HeartbeatRate> {
  const ca = await TestCa.create(directory, `bare-${connections}`)
  const { certificatePem: cert, keyPem: key } = (await ca.server(`bare-server-${connections}`)).issued
  const child = fork(join(import.meta.dirname, '..', 'bare-server.ts'))
  try {
    child.send({ kind: 'open', ca: ca.issued.certificatePem, cert, key } satisfies BareCommand)
    const [report] = (await once(child, 'message')) as [BareReport]
    const port = 'port' in report ? report.port : 0
    const nodes = await nodesOf(flower, ca, port, connections)
    return await beatAt({ pid: child.pid as number, callsAtOnce, nodes })
  } finally {
    child.kill()
  }
}

/** Sends heartbeats of the nodes for some seconds, from a process of its own. */
async function beatAt(options: {
  readonly pid: number
  readonly callsAtOnce: number
  readonly nodes: readonly LoadNode[]
}): Promise<HeartbeatRate> {
  const { pid, callsAtOnce, nodes } = options
  const child = fork(join(import.meta.dirname, 'load-process.ts'), { serialization: 'advanced' })
  try {
    await ask(child, { kind: 'join', nodes })
    await ask(child, { kind: 'beat', callsAtOnce, ms: warmUpMs })
    const cpuFrom = cpuSecondsOf(pid)
    const report = await ask(child, { kind: 'beat', callsAtOnce, ms: measureMs })
    if (report.kind !== 'sent') throw new Error(`The load generator said '${report.kind}'.`)
    const microseconds = (seconds: number): number => (seconds * 1e6) / report.heartbeats
    return {
      perSecond: report.heartbeats / report.seconds,
      serverMicroseconds: microseconds(cpuSecondsOf(pid) - cpuFrom),
      loadMicroseconds: microseconds(report.cpuSeconds),
    }
  } finally {
    child.kill()
  }
}

async function ask(child: ChildProcess, command: LoadCommand): Promise<LoadReport> {
  child.send(command)
  const [report] = (await once(child, 'message', { signal: AbortSignal.timeout(answerMs) })) as [LoadReport]
  if (report.kind === 'failed') throw new Error(report.reason)
  return report
}
