import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer, type Server } from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { joinFleet, MutualTlsSuperlink, refusalOf } from '../harness/mutual-tls.ts'
import { startResponder } from '../harness/ocsp-responder.ts'
import { eventually, run, type TestProgram } from '../harness/program.ts'

test('a SuperLink hands out what the responder says of its own certificate, and clients turn away from a revoked one', async () => {
  await using stack = new AsyncDisposableStack()
  const deployment = stack.use(
    await MutualTlsSuperlink.start(async (_file, ca) => {
      const { responder, url } = await startResponder(ca)
      stack.use(responder)
      const named = await ca.issue('named', { usages: ['server'], ips: ['127.0.0.1'], ocspUrl: url })
      return ['--ssl-staple-ocsp', '--ssl-certfile', named.certfile, '--ssl-keyfile', named.keyfile]
    }),
  )
  const { ca, superlink } = deployment
  const node = (await ca.issue('node')).issued
  const isStapled = async (): Promise<boolean> => {
    const { certificatePem: cert, keyPem: key } = node
    const { port } = superlink.fleet.address
    const socket = connectTls({ port, host: '127.0.0.1', ca: ca.issued.certificatePem, cert, key, requestOCSP: true })
    const [der] = (await once(socket, 'OCSPResponse')) as [Buffer | null]
    socket.on('error', () => {}).destroy()
    return der !== null && der.length > 0
  }
  await eventually('a stapled answer', isStapled)
  assert.ok((await joinFleet(deployment.connect('fleet', node))) > 0n)

  await run('flwr', ['pki', 'revoke', 'named', '--directory', ca.directory])
  process.kill(process.pid, 'SIGHUP')
  const refused = /The certificate of 127\.0\.0\.1:\d+ has been revoked, says the OCSP answer that came with it/
  await eventually('that clients turn away', async () =>
    refused.test(await refusalOf(joinFleet(deployment.connect('fleet', node)))),
  )
  assert.match(await refusalOf(joinFleet(deployment.connect('fleet', node, 'http'))), refused)
})

test('a list that is fetched from a server lets in and cuts off as one in a file does', async () => {
  let pem = ''
  await using server = await HttpServer.start(() => pem)
  await using deployment = await MutualTlsSuperlink.start(async (_file, ca) => {
    pem = await ca.crl([], 1)
    return ['--ssl-client-crl', server.url]
  })
  const { ca } = deployment
  const leaving = await ca.issue('goes')
  const channel = deployment.connect('fleet', leaving.issued)
  const nodeId = await joinFleet(channel)
  const held = refusalOf(channel.call(Fleet.method.pullMessages, { node: { nodeId } }, { waitMs: 25_000 }))
  pem = await ca.crl([leaving.issued], 2)
  process.kill(process.pid, 'SIGHUP')
  assert.equal(await held, 'revoked-by-crl')
})

class HttpServer implements AsyncDisposable {
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(body: () => string): Promise<HttpServer> {
    const server = createHttpServer((_request, response) => response.end(body()))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new HttpServer(server)
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    await once(this.#server, 'close')
  }
}

/** Takes connections and says nothing. */
class SilentServer implements AsyncDisposable {
  readonly #server = createServer((socket) => this.#sockets.add(socket))
  readonly #sockets = new Set<Socket>()

  static async start(): Promise<SilentServer> {
    const silent = new SilentServer()
    silent.#server.listen(0, '127.0.0.1')
    await once(silent.#server, 'listening')
    return silent
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

test('a peer whose certificate the responder calls revoked is cut off when the operator has it asked again, and stays out while the responder is silent', async () => {
  await using stack = new AsyncDisposableStack()
  let responder: TestProgram | undefined
  const deployment = stack.use(
    await MutualTlsSuperlink.start(async (_file, ca) => {
      const started = await startResponder(ca)
      responder = stack.use(started.responder)
      return ['--ssl-client-ocsp', 'strict', '--ssl-client-ocsp-url', started.url]
    }),
  )
  const { ca, superlink } = deployment
  const [staying, leaving] = [await ca.issue('stays'), await ca.issue('goes')]
  const good = deployment.connect('fleet', staying.issued)
  const goodId = await joinFleet(good)
  const bad = deployment.connect('fleet', leaving.issued, 'http')
  const nodeId = await joinFleet(bad)
  const held = refusalOf(bad.call(Fleet.method.pullMessages, { node: { nodeId } }, { waitMs: 25_000 }))

  const revoked = await run('flwr', ['pki', 'revoke', 'goes', '--directory', ca.directory])
  assert.equal(revoked.status, 0, revoked.said)
  process.kill(process.pid, 'SIGHUP')
  assert.equal(await held, 'revoked-by-ocsp')
  await eventually('the end of its connection', () => superlink.fleet.connections().length === 1)
  assert.equal(await refusalOf(joinFleet(deployment.connect('fleet', leaving.issued))), 'revoked-by-ocsp')

  responder?.kill('SIGKILL')
  await responder?.end()
  assert.equal(await refusalOf(joinFleet(deployment.connect('fleet', leaving.issued))), 'revoked-by-ocsp')
  // Of a new peer nothing is known; one that was good stays so until the response expires.
  const newcomer = await ca.issue('newcomer')
  await assert.rejects(joinFleet(deployment.connect('fleet', newcomer.issued)), {
    refusalReason: 'revocation-unknown',
    message: /the OCSP responder http:\S+ refuses connections/,
  })
  await good.call(Fleet.method.sendNodeHeartbeat, { node: { nodeId: goodId }, heartbeatInterval: 30 })
})

for (const [mode, outcome] of [
  ['strict', 'revocation-unknown'],
  ['lax', 'it was answered'],
] as const)
  test(`a silent responder delays only the peers that depend on it, and ${mode} decides whether they are let in`, async () => {
    await using silent = await SilentServer.start()
    await using stack = new AsyncDisposableStack()
    let url = ''
    const deployment = stack.use(
      await MutualTlsSuperlink.start(async (_file, ca) => {
        const started = await startResponder(ca)
        stack.use(started.responder)
        url = started.url
        return ['--ssl-client-ocsp', mode]
      }),
    )
    const { ca } = deployment
    const slow = await ca.issue('slow', { ocspUrl: silent.url })
    const quick = await ca.issue('quick', { ocspUrl: url })
    let isDecided = false
    const waiting = refusalOf(joinFleet(deployment.connect('fleet', slow.issued))).finally(() => {
      isDecided = true
    })
    assert.ok((await joinFleet(deployment.connect('fleet', quick.issued))) > 0n)
    assert.equal(isDecided, false)
    const said = await waiting
    assert.match(said, new RegExp(outcome))
    // Others that depend on it do not wait again so soon.
    const next = await ca.issue('next', { ocspUrl: silent.url })
    assert.match(await refusalOf(joinFleet(deployment.connect('fleet', next.issued))), new RegExp(outcome))
  })
