import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TestCa } from '../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { silentLogger } from '../base/log.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import type { PeerIdentity } from '../identity/caller.ts'
import { parseCertificate } from '../identity/certificate.ts'
import { fixedTlsSource } from '../identity/tls-source.ts'
import { formatAddress } from './address.ts'
import type { Call } from './call.ts'
import { createChannel, createClient, type RpcError } from './channel.ts'
import { startListener } from './listener.ts'
import { callerKind, defineService, type ServiceHandlers } from './service.ts'

type Anyone = { readonly anyone: undefined }

test('a call or stream that is cut off ends with the reason, over either wire, and so do its handler and its connection', async () => {
  using directory = temporaryDirectory()
  const ca = await TestCa.create(directory.path)
  const [server, client] = [(await ca.server()).issued, (await ca.issue('alice')).issued]
  let isRevoked = false
  const judge = ([leaf]: readonly Uint8Array[]): PeerIdentity => {
    const { serial, fingerprint, notAfter } = parseCertificate(leaf as Uint8Array)
    const known = { identity: 'alice', organization: '', serial, fingerprint }
    return isRevoked
      ? { ...known, kind: 'refused', reason: 'revoked-by-crl', sentence: 'Revoked: grün.' }
      : { ...known, kind: 'certificate', roles: new Set(['cli'] as const), notAfter, identitySharing: 'allow' }
  }
  let held = Promise.withResolvers<void>()
  let ended = Promise.withResolvers<void>()
  const row = { caller: 'anyone', of: 'caller', changes: false, body: 'small' } as const
  const names = Object.keys(Control.method)
  const service = defineService<typeof Control, Anyone>(Control, {
    access: Object.fromEntries(names.map((name) => [name, row])) as never,
    callers: { anyone: callerKind(async () => undefined) },
    handlers: {
      ...Object.fromEntries(names.map((name) => [name, () => ({})])),
      /** Held until its signal says that the caller will not receive the response. */
      listRuns(_request: unknown, call: Call) {
        held.resolve()
        return new Promise((resolve) => {
          call.signal.addEventListener('abort', () => {
            ended.resolve()
            resolve({})
          })
        })
      },
      async *streamLogs(_request: unknown, call: Call) {
        yield { logOutput: 'first\n', latestTimestamp: 1 }
        await new Promise((resolve) => call.signal.addEventListener('abort', resolve, { once: true }))
      },
    } as never as ServiceHandlers<typeof Control, Anyone>,
  })
  await using listener = await startListener({
    ...{ name: 'test', address: '127.0.0.1:0', services: [service], log: silentLogger, judge, clientAuth: 'require' },
    tls: fixedTlsSource({ certificate: { chainPem: server.certificatePem, keyPem: server.keyPem } }),
  })
  const open = (transport: 'grpc' | 'http') =>
    createChannel({
      ...{ address: formatAddress(listener.address), transport, component: 'test' },
      tls: fixedTlsSource({
        rootsPem: ca.issued.certificatePem,
        certificate: { chainPem: client.certificatePem, keyPem: client.keyPem },
      }),
    })
  for (const transport of ['grpc', 'http'] as const) {
    isRevoked = false
    held = Promise.withResolvers()
    ended = Promise.withResolvers()
    using caller = open(transport)
    const listing = assert.rejects(createClient(Control, caller).listRuns({}), { refusalReason: 'revoked-by-crl' })
    await held.promise
    isRevoked = true
    assert.equal((await listener.judgeAgain()).length, 1)
    await listing
    await ended.promise
    while (listener.connections().length > 0) await new Promise((resolve) => setImmediate(resolve))

    isRevoked = false
    using channel = open(transport)
    const lines: string[] = []
    const follow = async (): Promise<void> => {
      for await (const { logOutput } of createClient(Control, channel).streamLogs({})) {
        lines.push(logOutput)
        isRevoked = true
        assert.equal((await listener.judgeAgain()).length, 1)
      }
    }
    await assert.rejects(follow(), (error: RpcError) => {
      assert.deepEqual(
        [error.refusalReason, error.message, error.status],
        ['revoked-by-crl', 'Revoked: grün.', 'unauthenticated'],
        transport,
      )
      return true
    })
    assert.deepEqual(lines, ['first\n'])
    while (listener.connections().length > 0) await new Promise((resolve) => setImmediate(resolve))
  }
})
