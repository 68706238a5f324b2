import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { eventually } from '../../../test/harness/program.ts'
import { recordingLogger } from '../../../test/harness/recording-logger.ts'
import { parseCertificate } from '../certificate.ts'
import { pemCertificates } from '../pem.ts'
import { issue } from '../pki.ts'
import { issueCrl } from '../pki-crl.ts'
import { CrlDownload } from './crl-download.ts'
import { readCrls } from './crls.ts'

const minute = 60_000
const stepMs = 20_000
const epoch = new FakeClock().now()
const validity = { notBefore: new Date(epoch - minute), notAfter: new Date(epoch + 9e9) }
const ca = await issue({ commonName: 'CA', ca: true, ...validity })
const namesake = await issue({ commonName: 'CA', ca: true, ...validity })
const caCertificate = parseCertificate(pemCertificates(ca.certificatePem)[0] as Uint8Array)

const list = (number: number, { at = epoch, forMs = 60 * minute, by = ca } = {}): Promise<string> =>
  issueCrl({ revoked: [], number: BigInt(number), thisUpdate: new Date(at), nextUpdate: new Date(at + forMs) }, by)

/** A server of lists that a test tells what to answer. */
class ListServer implements AsyncDisposable {
  readonly #server = createServer((request, response) => this.answer(request, response))
  asked = 0
  readonly conditions: (string | undefined)[] = []
  body: string | Buffer = ''
  status = 200
  url = ''

  static async start(): Promise<ListServer> {
    const started = new ListServer()
    started.#server.listen(0, '127.0.0.1')
    await once(started.#server, 'listening')
    started.url = `http://127.0.0.1:${(started.#server.address() as AddressInfo).port}/ca.crl`
    return started
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    this.asked += 1
    this.conditions.push(request.headers['if-none-match'])
    response.writeHead(this.status, { etag: `"${this.body.length}"` }).end(this.body)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

class Site implements AsyncDisposable {
  readonly clock = new FakeClock()
  readonly logger = recordingLogger()
  readonly #stack = new AsyncDisposableStack()
  readonly directory = this.#stack.use(temporaryDirectory())

  async open(urls: readonly string[]): Promise<CrlDownload> {
    const { clock, logger, directory } = this
    return this.#stack.use(
      await CrlDownload.open({
        ...{ flag: '--ssl-client-crl', urls, directory: directory.file('lists'), clock, log: logger.log },
        ...{ cas: () => [caCertificate], rootsPem: () => ca.certificatePem },
      }),
    )
  }

  /** Number of the list that is in use. */
  async number(): Promise<bigint | undefined> {
    const file = { flag: '--ssl-client-crl', path: this.directory.file('lists') }
    return (await readCrls(file, [caCertificate], { now: this.clock.now() })).crls[0]?.number
  }

  /** Lets time pass until the server has been asked again; returns how long that was. */
  async passUntilAsked(server: ListServer): Promise<number> {
    const before = server.asked
    const since = this.clock.now()
    await eventually('another question', () => {
      if (server.asked === before) this.clock.advance(stepMs)
      return server.asked > before
    })
    return this.clock.now() - since
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

test('a list is fetched again within minutes, or before it is due, and only when it has changed', async () => {
  await using server = await ListServer.start()
  await using site = new Site()
  server.body = await list(1)
  await using _ = await site.open([server.url])
  assert.equal(await site.number(), 1n)
  server.status = 304
  assert.ok(Math.abs((await site.passUntilAsked(server)) - 5 * minute) <= stepMs)
  assert.match(server.conditions[1] ?? '', /^"\d+"$/)
  assert.equal(await site.number(), 1n)
  server.status = 200
  server.body = await list(2, { at: site.clock.now() + 5 * minute, forMs: 2 * minute })
  await site.passUntilAsked(server)
  await eventually('list 2', async () => (await site.number()) === 2n)
  server.body = await list(3, { at: site.clock.now() })
  // It is good for two minutes and a little: it is not waited for the end of them.
  assert.ok((await site.passUntilAsked(server)) <= 2 * minute)
  await eventually('list 3', async () => (await site.number()) === 3n)
})

const bad: readonly (readonly [name: string, body: () => Promise<string | Buffer>, line: RegExp])[] = [
  ['a page', async () => '<html>Sign in</html>', /is not a revocation list \(PEM or DER\)/],
  ['an older list', () => list(4), /older than the one in use/],
  ['a list of another key', () => list(6, { by: namesake }), /that CA has not signed it/],
  ['nothing', async () => '', /cannot be used/],
]

for (const [name, body, line] of bad)
  test(`${name} does not take the place of the list in use, and the log says why`, async () => {
    await using server = await ListServer.start()
    await using site = new Site()
    server.body = await list(5)
    await using _ = await site.open([server.url])
    server.body = await body()
    await site.passUntilAsked(server)
    await eventually('a line', () => site.logger.lines.some((one) => line.test(one)))
    assert.equal(await site.number(), 5n)
    server.body = await list(7)
    await site.passUntilAsked(server)
    await eventually('list 7', async () => (await site.number()) === 7n)
    assert.match(site.logger.lines.at(-1) ?? '', /has a good revocation list again/)
  })

test('without a list there is no start, unless one was fetched earlier', async () => {
  await using server = await ListServer.start()
  await using site = new Site()
  server.status = 404
  await assert.rejects(
    site.open([server.url]),
    /ca\.crl: it answers with status 404, and none of an earlier time is kept/,
  )
  server.status = 200
  server.body = await list(1)
  {
    await using _ = await site.open([server.url])
  }
  server.status = 503
  {
    await using _ = await site.open([server.url])
    assert.equal(await site.number(), 1n)
    assert.match(site.logger.lines.at(-1) ?? '', /status 503\. The one that was fetched last is used/)
  }
  server.status = 200
  // What was fetched from elsewhere stays for other processes, until the folder belongs to this one.
  await using other = await site.open([`${server.url}?other`])
  assert.equal(readdirSync(site.directory.file('lists')).length, 2)
  assert.equal((await readCrls(other.file, [caCertificate], { now: site.clock.now() })).crls.length, 1)
  other.removeOthers()
  assert.deepEqual(readdirSync(site.directory.file('lists')), other.file.names)
})

test('processes that share the folder fetch at the same time, and only what a killed one has left is removed', async () => {
  await using server = await ListServer.start()
  await using site = new Site()
  server.body = await list(1)
  const lists = await Promise.all([1, 2, 3].map(() => site.open([server.url])))
  const folder = site.directory.file('lists')
  const [under, left] = ['.a.crl.1', '.a.crl.2'].map((name) => join(folder, name)) as [string, string]
  for (const path of [under, left]) writeFileSync(path, '')
  utimesSync(left, 0, 0)
  for (const one of lists) one.removeOthers()
  assert.deepEqual(readdirSync(folder).toSorted(), ['.a.crl.1', ...(lists[0]?.file.names ?? [])])
  assert.equal(await site.number(), 1n)
})

test('SIGHUP fetches at once', async () => {
  await using server = await ListServer.start()
  await using site = new Site()
  server.body = await list(1)
  await using _ = await site.open([server.url])
  server.body = await list(2)
  process.emit('SIGHUP')
  await eventually('list 2', async () => (await site.number()) === 2n)
})
