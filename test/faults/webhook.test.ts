import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer as createPlain, type RequestListener } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { Metrics } from '../../src/base/metrics.ts'
import { inMemory, openDatabase } from '../../src/db/database.ts'
import { readWebhook } from '../../src/superlink/config-webhook.ts'
import { createBells } from '../../src/superlink/context.ts'
import { EventLog } from '../../src/superlink/events/event-log.ts'
import * as outboxStore from '../../src/superlink/events/outbox-store.ts'
import { Webhook, type WebhookConfig } from '../../src/superlink/events/webhook.ts'
import { TestCa } from '../harness/certificates.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { FakeClock, letPass } from '../harness/fake-clock.ts'
import { recordingLogger } from '../harness/recording-logger.ts'

/** The webhook before receivers that refuse, redirect, lie or go away. Time passes in a clock of the test. */

const dayMs = 24 * 3_600_000
const secret = Buffer.alloc(32, 7)

interface Got {
  readonly body: string
  readonly headers: NodeJS.Dict<string | string[]>
}

/** A receiver that notes what comes, and responds with a status. */
class Receiver implements AsyncDisposable {
  readonly got: Got[] = []
  /** Of the next requests. */
  respond: (got: Got) => number = () => 204
  body = ''
  /** Takes requests in and does not respond. */
  hangs = false
  readonly url: string
  readonly #close: () => Promise<void>

  private constructor(url: string, close: () => Promise<void>) {
    this.url = url
    this.#close = close
  }

  static async start(tls?: { cert: Buffer; key: Buffer }): Promise<Receiver> {
    let receiver: Receiver | undefined
    const listener: RequestListener = async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const got = { body: Buffer.concat(chunks).toString(), headers: request.headers }
      receiver?.got.push(got)
      if (receiver?.hangs) return
      response.writeHead(receiver?.respond(got) ?? 500, { location: '/elsewhere' }).end(receiver?.body)
    }
    const server = tls ? createServer(tls, listener) : createPlain(listener)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const close = async (): Promise<void> => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
    receiver = new Receiver(`http${tls ? 's' : ''}://127.0.0.1:${port}/hook?token=private`, close)
    return receiver
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close()
  }
}

/** The part of a SuperLink that records and sends events. */
function startSender(config: Partial<WebhookConfig> & { url: string }, path = inMemory, clock = new FakeClock()) {
  const stack = new AsyncDisposableStack()
  const db = stack.use(openDatabase({ path, survives: 'crash' }))
  const bells = createBells()
  const { log, lines } = recordingLogger()
  const metrics = new Metrics()
  const events = new EventLog({ db, clock, bells, hasWebhook: true })
  const webhook = new Webhook({ secret, ca: undefined, ...config }, { db, clock, log, bells }, metrics)
  const stop = new AbortController()
  const done = webhook.run(stop.signal)
  const end = async (): Promise<void> => {
    stop.abort()
    await done
  }
  stack.defer(end)
  const record = (run: number) =>
    events.recordAlone('run.finished', { sentence: `Run ${run} has completed.`, run: String(run), result: 'completed' })
  return { record, end, db, clock, lines, metrics, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

const runOf = ({ body }: Got): unknown => (JSON.parse(body) as { data: { run: string } }).data.run

test('each event is sent signed, in order, and once if the receiver accepts it, whatever else it responds', async () => {
  await using receiver = await Receiver.start()
  receiver.respond = () => 200
  receiver.body = 'x'.repeat(1024 * 1024)
  await using sender = startSender(receiver)
  for (const run of [1, 2, 3]) await sender.record(run)
  await letPass(sender.clock, 'the last event', () => receiver.got.length === 3, 0)
  assert.deepEqual(receiver.got.map(runOf), ['1', '2', '3'])
  for (const { body, headers } of receiver.got) {
    const { id } = JSON.parse(body) as { id: string }
    const signed = `${id}.${headers['webhook-timestamp']}.${body}`
    assert.equal(headers['webhook-id'], id)
    assert.equal(headers['webhook-signature'], `v1,${createHmac('sha256', secret).update(signed).digest('base64')}`)
    assert.equal(Number(headers['webhook-timestamp']), Math.floor(sender.clock.now() / 1000))
    assert.match(String(headers['content-type']), /^application\/cloudevents\+json/)
  }
})

test('an event that is refused comes again later, others are not held up, and the log does not hold the path', async () => {
  await using receiver = await Receiver.start()
  await using sender = startSender(receiver)
  receiver.respond = (got) => (runOf(got) === '1' && receiver.got.length < 4 ? 500 : 200)
  await sender.record(1)
  await sender.record(2)
  await letPass(sender.clock, 'the second attempts', () => new Set(receiver.got.map(runOf)).size === 2)
  await letPass(sender.clock, 'the last attempt', () => receiver.got.filter((got) => runOf(got) === '1').length >= 3)
  const ids = new Set(receiver.got.filter((got) => runOf(got) === '1').map(({ headers }) => headers['webhook-id']))
  assert.equal(ids.size, 1)
  assert.equal(receiver.got.filter((got) => runOf(got) === '2').length, 1)
  const text = JSON.stringify(sender.lines)
  assert.match(text, /responds with status 500/)
  assert.doesNotMatch(text, /private/)
})

test('a new event does not wait for one that the receiver rejects again and again, and the log does not call that a return', async () => {
  await using receiver = await Receiver.start()
  await using sender = startSender(receiver)
  receiver.respond = (got) => (runOf(got) === '1' ? 400 : 200)
  await sender.record(1)
  const attemptsOf = (run: string): number => receiver.got.filter((got) => runOf(got) === run).length
  await letPass(sender.clock, 'many attempts', () => attemptsOf('1') >= 9)
  // The pause after an attempt; the next attempt is minutes away.
  const before = sender.clock.now()
  await sender.record(2)
  await letPass(sender.clock, 'the new event', () => attemptsOf('2') === 1, 2000)
  assert.ok(sender.clock.now() - before <= 2000, String(sender.clock.now() - before))
  await sender.record(3)
  await letPass(sender.clock, 'the next event', () => attemptsOf('3') === 1, 0)
  assert.equal(attemptsOf('1'), 9)
  assert.doesNotMatch(JSON.stringify(sender.lines), /accepts events again/)
})

test('a receiver that does not respond does not hold up the end of the SuperLink, and gets the event at the next start', async () => {
  await using receiver = await Receiver.start()
  receiver.hangs = true
  await using sender = startSender(receiver)
  await sender.record(1)
  await letPass(sender.clock, 'the request', () => receiver.got.length === 1, 0)
  await sender.end()
  const waiting = await outboxStore.findNext(sender.db.read)
  // The attempt was given up with the SuperLink, not for its deadline.
  assert.deepEqual([waiting?.position, waiting?.attempts], [1, 0])
})

test('events wait on disk while the receiver is away and while the SuperLink is down', async () => {
  using directory = temporaryDirectory()
  const path = directory.file('state.db')
  const clock = new FakeClock()
  await using receiver = await Receiver.start()
  receiver.respond = () => 503
  {
    await using sender = startSender(receiver, path, clock)
    await sender.record(1)
    await sender.record(2)
    await letPass(clock, 'an attempt', () => receiver.got.length > 0)
  }
  receiver.got.length = 0
  receiver.respond = () => 200
  await using again = startSender(receiver, path, clock)
  await letPass(clock, 'both events', () => receiver.got.length === 2)
  assert.deepEqual(receiver.got.map(runOf).sort(), ['1', '2'])
  await letPass(clock, 'an empty outbox', () => true)
  assert.match((await again.metrics.text()).body, /trellis_webhook_attempts_total\{result="accepted"\}/)
})

test('after days an event is given up, and a metric counts it', async () => {
  await using receiver = await Receiver.start()
  receiver.respond = () => 500
  await using sender = startSender(receiver)
  await sender.record(1)
  await letPass(sender.clock, 'an attempt', () => receiver.got.length > 0)
  sender.clock.advance(3 * dayMs + 1)
  await letPass(sender.clock, 'the end of patience', () =>
    JSON.stringify(sender.lines).includes('Events were given up'),
  )
  assert.equal(await outboxStore.count(sender.db.read), 0)
  assert.match((await sender.metrics.text()).body, /trellis_webhook_dead_total\{reason="expired"\} 1/)
})

test('a redirection is not followed, and a receiver whose certificate is not trusted gets nothing', async () => {
  using directory = temporaryDirectory()
  const ca = await TestCa.create(directory.path)
  const { certfile, keyfile } = await ca.server()
  await using receiver = await Receiver.start({ cert: readFileSync(certfile), key: readFileSync(keyfile) })
  receiver.respond = () => 307
  {
    await using stranger = startSender(receiver)
    await stranger.record(1)
    await letPass(stranger.clock, 'a failure', () => JSON.stringify(stranger.lines).includes('cannot be reached'))
    assert.deepEqual(receiver.got, [])
  }
  await using trusting = startSender({ url: receiver.url, ca: ca.issued.certificatePem })
  await trusting.record(1)
  await letPass(trusting.clock, 'a failure', () => JSON.stringify(trusting.lines).includes('redirects (307)'))
  assert.ok(receiver.got.length > 0)
})

test('a webhook whose events could be read or forged on their way is refused at the start', () => {
  using directory = temporaryDirectory()
  const secretFile = directory.file('secret')
  const good = { webhook: 'https://alerts.example/trellis?key=private', webhookSecretFile: secretFile }
  const refused = (values: Parameters<typeof readWebhook>[0], sentence: RegExp): void =>
    assert.throws(() => readWebhook(values), sentence)
  writeFileSync(secretFile, `whsec_${secret.toString('base64')}\n`)
  assert.deepEqual(readWebhook(good)?.secret, secret)
  assert.equal(readWebhook({}), undefined)
  assert.ok(readWebhook({ ...good, webhook: 'http://127.0.0.1:9/' }))
  refused({ ...good, webhook: 'http://alerts.example/?key=private' }, /^(?!.*private).*https URL/)
  refused({ ...good, webhook: 'https://me:private@alerts.example' }, /^(?!.*private).*user name/)
  refused({ webhook: good.webhook }, /needs --webhook-secret-file/)
  refused({ webhookSecretFile: secretFile }, /--webhook-secret-file has no effect alone/)
  writeFileSync(secretFile, 'private')
  refused(good, /^(?!.*private\W).*whsec_ and 24 to 64/)
})
