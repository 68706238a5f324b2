import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { countingClient } from '../harness/apps.ts'
import { expectedDigest, type Language, writeBilingualApp } from '../harness/bilingual-app.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { eventually, isReadyApp, processesWith, programFolder, type TestProgram } from '../harness/program.ts'
import { type Release, withoutPython } from '../harness/python-flower.ts'
import { writeApp } from '../harness/write-app.ts'

/** A fleet of Python that leaves its apps to SuperExecs, which must know a secret. */
class ProcessFleet implements AsyncDisposable {
  readonly fleet: MixedFleet
  readonly release: Release
  readonly secret: readonly string[]
  readonly #stack: AsyncDisposableStack
  #superexecs: TestProgram[] = []
  nodes: TestProgram[] = []

  private constructor(fleet: MixedFleet, release: Release, secret: readonly string[], stack: AsyncDisposableStack) {
    this.fleet = fleet
    this.release = release
    this.secret = secret
    this.#stack = stack
  }

  static async create(release: Release): Promise<ProcessFleet> {
    const stack = new AsyncDisposableStack()
    const { file } = stack.use(temporaryDirectory())
    writeFileSync(file('secret'), 'the secret of the site')
    const secret = ['--superexec-auth-secret-file', file('secret')]
    const fleet = stack.use(
      await MixedFleet.create({
        superlink: release,
        isolation: 'process',
        pythonState: 'memory',
        superlinkArguments: secret,
      }),
    )
    const created = new ProcessFleet(fleet, release, secret, stack)
    for (let node = 0; node < 2; node++)
      created.nodes.push(await fleet.startSupernode(release, ['--isolation', 'process', ...secret]))
    return created
  }

  /** The SuperExecs that were there end first: two would take turns. */
  async startSuperexecs(server: Language, client: Language): Promise<void> {
    for (const superexec of this.#superexecs) await superexec[Symbol.asyncDispose]()
    const start = (address: string, type: 'serverapp' | 'clientapp', language: Language): TestProgram =>
      this.fleet.startSuperexec(address, type, {
        maker: language === 'python' ? this.release : 'trellis',
        args: this.secret,
      })
    this.#superexecs = [
      start(this.fleet.appAddress, 'serverapp', server),
      ...this.nodes.map((node) => start(this.fleet.appAddressOf(node), 'clientapp', client)),
    ]
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

for (const release of ['1.29', '1.41'] as const) {
  test(`at Python ${release}'s SuperLink and SuperNodes apps of both languages meet, started by SuperExecs of both makers, to the last bit`, {
    skip: withoutPython,
  }, async () => {
    await using place = await ProcessFleet.create(release)
    const { fleet } = place
    for (const [server, client] of [
      ['typescript', 'typescript'],
      ['typescript', 'python'],
      ['python', 'typescript'],
    ] as const) {
      await place.startSuperexecs(server, client)
      const app = writeBilingualApp(fleet.directory.file(`${server}-and-${client}`), { server, client })
      const run = await fleet.flwr('trellis', ['run', app, '--stream'])
      assert.equal(run.status, 0, run.said)
      assert.match(run.said, new RegExp(`digest: ${expectedDigest()}`), `${server} and ${client}`)
      assert.match(run.said, /finished:completed/)
    }
  })

  test(`Python ${release}'s SuperExecs start our app processes where those come first on PATH`, {
    skip: withoutPython,
  }, async () => {
    await using place = await ProcessFleet.create(release)
    const { fleet } = place
    const options = { maker: release, args: place.secret, path: programFolder }
    fleet.startSuperexec(fleet.appAddress, 'serverapp', options)
    for (const node of place.nodes) fleet.startSuperexec(fleet.appAddressOf(node), 'clientapp', options)
    const app = writeBilingualApp(fleet.directory.file('app'), { server: 'typescript', client: 'typescript' })
    const run = await fleet.flwr('trellis', ['run', app, '--stream'])
    assert.equal(run.status, 0, run.said)
    assert.match(run.said, new RegExp(`digest: ${expectedDigest()}`))
  })

  test(`what goes wrong in a TypeScript app at Python ${release}'s SuperLink ends the run with the reason, and a stop ends the app`, {
    skip: withoutPython,
  }, async () => {
    await using place = await ProcessFleet.create(release)
    const { fleet } = place
    const stranger = fleet.startSuperexec(fleet.appAddress, 'serverapp')
    assert.equal(await stranger.end(), 1)
    assert.match(stranger.said, /does not accept this SuperExec .*: give .* --superexec-auth-secret-file/)

    await place.startSuperexecs('typescript', 'typescript')
    const failing = writeApp(fleet.directory.file('failing'), {
      server: `import { ServerApp } from 'trellis-fl'
        export const app = new ServerApp().main(() => { throw new Error('out of patients') })`,
      client: countingClient,
    })
    const failed = await fleet.flwr('trellis', ['run', failing, '--stream'])
    assert.equal(failed.status, 1, failed.said)
    assert.match(failed.said, /finished:failed.*out of patients/)
    const python = writeBilingualApp(fleet.directory.file('python'), { server: 'python', client: 'typescript' })
    const refused = await fleet.flwr('trellis', ['run', python, '--stream'])
    assert.match(refused.said, /finished:failed.*'app\.server:app' is Python; this program runs TypeScript/)

    const errors = writeApp(fleet.directory.file('errors'), {
      server: askingServer,
      client: `import { ClientApp } from 'trellis-fl'
        export const app = new ClientApp().query(() => { throw new Error('no data here') })`,
    })
    const answered = await fleet.flwr('trellis', ['run', errors, '--stream'])
    assert.equal(answered.status, 0, answered.said)
    assert.equal(answered.said.match(/error 2 .*no data here/g)?.length, 2, answered.said)

    const dying = writeApp(fleet.directory.file('dying'), {
      server: askingServer,
      client: `import { ClientApp } from 'trellis-fl'
        export const app = new ClientApp().query(() => process.kill(process.pid, 'SIGKILL'))`,
    })
    const died = await fleet.flwr('trellis', ['run', dying, '--stream'])
    assert.equal(died.said.match(/error 8 ClientApp stopped responding/g)?.length, 2, died.said)

    const waiting = writeApp(fleet.directory.file('waiting'), {
      server: `import { log, ServerApp } from 'trellis-fl'
        export const app = new ServerApp().main(async (grid) => {
          log.info('waiting')
          for (;;) await grid.getNodeIds().then(() => new Promise((resolve) => setTimeout(resolve, 500)))
        })`,
      client: countingClient,
    })
    const started = await fleet.flwr('trellis', ['run', waiting, '--format', 'json'])
    const runId = String(JSON.parse(started.stdout)['run-id'])
    const follower = fleet.start('trellis', 'flwr', ['log', runId, '--stream'])
    await follower.line(/waiting/)
    const apps = (): number[] =>
      processesWith(join(fleet.directory.path, 'home-trellis'))
        .filter((one) => one.command.includes('flwr-serverapp') && !isReadyApp(one))
        .map(({ pid }) => pid)
    assert.equal(apps().length, 1)
    assert.equal((await fleet.flwr('trellis', ['stop', runId])).status, 0)
    await eventually('the end of the ServerApp', () => apps().length === 0)
  })
}

/** Asks every node once and logs the answers. */
const askingServer = `
import { ConfigRecord, log, Message, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid) => {
  const content = new RecordDict({ config: new ConfigRecord({ a: 1 }) })
  const nodes = await grid.getNodeIds()
  const messages = nodes.map((dstNodeId) => Message.create({ content, messageType: 'query', dstNodeId, ttl: 60 }))
  for (const reply of await grid.sendAndReceive(messages))
    log.info(reply.hasError() ? \`error \${reply.error.code} \${reply.error.reason}\` : 'answered')
})
`
