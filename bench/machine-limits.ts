import { fork } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import type { ClientHttp2Session } from 'node:http2'
import { join } from 'node:path'
import { Fleet } from '../src/gen/flwr/proto/fleet_pb.ts'
import { TestCa } from '../test/harness/certificates.ts'
import type { BareCommand, BareReport } from './bare-server.ts'
import { call, openSession, type Peer } from './fleet/grpc-calls.ts'
import { spreadOf } from './spread.ts'

/** The least that this machine needs for the parts of which a round is made. Our figures are set beside these. */
export interface MachineLimits {
  /** Processor time of a bare server of Node, for one TLS handshake with a certificate of the client. */
  readonly handshakeMs: number
  /** The same of server and client together: in these figures both are on this machine. */
  readonly handshakeBothMs: number
  /** Processor time of a bare server for one small call, and of server and client together. */
  readonly callMs: number
  readonly callBothMs: number
  /** Memory of a bare server without connections, and for each connection. */
  readonly emptyMegabytes: number
  readonly connectionMegabytes: number
  /** Until 4 KB are on the disk. */
  readonly syncMs: number
}

const connections = 400
const callsPerConnection = 10
const connectionsAtOnce = 20
const syncs = 100
const timeoutMs = 60_000

export async function measureMachineLimits(directory: string): Promise<MachineLimits> {
  const ca = await TestCa.create(directory, 'bare')
  const server = (await ca.server('bare-server')).issued
  const client = (await ca.issue('bare-client')).issued
  const child = fork(join(import.meta.dirname, 'bare-server.ts'))
  const ask = async <T extends BareReport>(command: BareCommand): Promise<T> => {
    child.send(command)
    return (await once(child, 'message', { signal: AbortSignal.timeout(timeoutMs) }))[0] as T
  }
  const sessions: ClientHttp2Session[] = []
  try {
    const open = {
      kind: 'open',
      ca: ca.issued.certificatePem,
      cert: server.certificatePem,
      key: server.keyPem,
    } as const
    const { port } = await ask<{ port: number }>(open)
    const peer: Peer = { host: '127.0.0.1', port, rootsPem: ca.issued.certificatePem, ...client }
    const look = async (): Promise<{ server: number; both: number; megabytes: number }> => {
      const { cpuSeconds, megabytes } = await ask<{ cpuSeconds: number; megabytes: number }>({ kind: 'look' })
      const { user, system } = process.cpuUsage()
      return { server: cpuSeconds, both: cpuSeconds + (user + system) / 1e6, megabytes }
    }
    const empty = await look()
    for (let opened = 0; opened < connections; opened += connectionsAtOnce)
      sessions.push(
        ...(await Promise.all(Array.from({ length: connectionsAtOnce }, () => openSession(peer, timeoutMs)))),
      )
    const connected = await look()
    for (let round = 0; round < callsPerConnection; round++)
      await Promise.all(sessions.map((session) => call(session, Fleet.method.sendNodeHeartbeat, {}, { timeoutMs })))
    const called = await look()
    const calls = connections * callsPerConnection
    return {
      handshakeMs: ((connected.server - empty.server) * 1000) / connections,
      handshakeBothMs: ((connected.both - empty.both) * 1000) / connections,
      callMs: ((called.server - connected.server) * 1000) / calls,
      callBothMs: ((called.both - connected.both) * 1000) / calls,
      emptyMegabytes: empty.megabytes,
      connectionMegabytes: (called.megabytes - empty.megabytes) / connections,
      syncMs: measureSync(join(directory, 'sync')),
    }
  } finally {
    for (const session of sessions) session.destroy()
    child.kill()
  }
}

function measureSync(path: string): number {
  const file = openSync(path, 'w')
  const page = Buffer.alloc(4096)
  const ms = Array.from({ length: syncs }, () => {
    const startedAt = performance.now()
    writeSync(file, page)
    fdatasyncSync(file)
    return performance.now() - startedAt
  })
  closeSync(file)
  return spreadOf(ms).median
}
