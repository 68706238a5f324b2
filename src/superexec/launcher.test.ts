import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { duplexPair, PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import type { LastWords } from '../app-api/last-words.ts'
import type { TaskApi, TaskOutcome } from '../app-api/task-api.ts'
import type { AcquiredTask, TaskSource } from '../app-api/task-source.ts'
import { systemClock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import type { LauncherConfig } from './config.ts'
import { Launcher } from './launcher.ts'

/** An app process that does what the test says. */
class FakeApp extends EventEmitter {
  static #pids = 1000
  readonly pid = ++FakeApp.#pids
  readonly stdout = new PassThrough()
  readonly stderr = new PassThrough()
  readonly stdio: unknown[]
  readonly signals: string[] = []
  /** Everything that the launcher sent, line by line. */
  readonly received: { token?: string; wantsLastWords?: boolean }[] = []
  readonly #appSide: ReturnType<typeof duplexPair>[1]
  exitCode: number | null = null
  signalCode: string | null = null

  constructor() {
    super()
    const [launcher, appSide] = duplexPair()
    this.stdio = [null, this.stdout, this.stderr, launcher]
    this.#appSide = appSide
    appSide.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().trim().split('\n')) this.received.push(JSON.parse(line))
    })
  }

  get tokens(): (string | undefined)[] {
    return this.received.map(({ token }) => token)
  }

  say(...lines: string[]): void {
    for (const line of lines) this.#appSide.write(`${line}\n`)
  }

  sayIdle(): void {
    this.say('{"app":"idle"}')
  }

  kill(signal: string): void {
    this.signals.push(signal)
    this.end(null, signal)
  }

  end(status: number | null, signal: string | null = null): void {
    if (this.exitCode !== null || this.signalCode !== null) return
    this.exitCode = status
    this.signalCode = signal
    this.#appSide.destroy()
    this.stdout.end()
    this.stderr.end()
    this.emit('exit', status, signal)
  }
}

interface SetUp {
  readonly needsLastWords?: boolean
  readonly startApp?: () => FakeApp
  readonly apps?: LauncherConfig['apps']
}

function setUp(t: TestContext, options: SetUp = {}) {
  const { needsLastWords = false, startApp = (): FakeApp => new FakeApp(), apps: language = 'typescript' } = options
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const apps: FakeApp[] = []
  /** What the server was told, by token. */
  const told: Record<string, TaskOutcome> = {}
  const replies: string[] = []
  const { log, lines } = recordingLogger()
  const source: TaskSource = {
    generation: 'runtime',
    needsLastWords,
    acquire: async () => assert.fail('the launcher asks for nothing'),
    open: ({ token }, { signal }) =>
      ({
        signal,
        sendHeartbeat: () => new Promise((_resolve, reject) => signal.addEventListener('abort', reject)),
        pushMessages: async () => {
          replies.push(token)
          return { sessionId: '' }
        },
        finish: async (outcome: TaskOutcome) => {
          told[token] = outcome
        },
      }) as unknown as TaskApi,
  }
  const config = {
    serverAddress: '127.0.0.1:1',
    trustArguments: ['--insecure'],
    python: '/there/is/none/python',
    apps: language,
    keepImports: false,
    dependencyInstallation: false,
  }
  const launcher = new Launcher(config, source, log, () => {
    const app = startApp()
    apps.push(app)
    return app as unknown as ChildProcess
  })
  const launch = (token: string, runId = 1n, more: Partial<AcquiredTask> = {}): void =>
    launcher.launch({
      taskId: 1n,
      runId,
      program: 'flwr-clientapp',
      component: 'app/client.ts:app',
      token,
      ...more,
    })
  return { launcher, launch, apps, told, replies, lines, timers: t.mock.timers }
}

/** Lets streams deliver what was written. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const at = (apps: readonly FakeApp[], index: number): FakeApp => apps[index] ?? assert.fail(`there is no app ${index}`)

test('a process that has finished its task gets the next of its run; another run has another process', async (t) => {
  const { launch, apps } = setUp(t)
  launch('one')
  await settle()
  at(apps, 0).sayIdle()
  await settle()
  launch('two')
  launch('other', 2n)
  await settle()
  assert.deepEqual(
    apps.map(({ tokens }) => tokens),
    [['one', 'two'], ['other']],
  )
})

test('a task waits a moment for the process that is about to finish, and no longer', async (t) => {
  const { launch, apps, timers } = setUp(t)
  launch('one')
  launch('two')
  await settle()
  at(apps, 0).sayIdle()
  await settle()
  assert.deepEqual(at(apps, 0).tokens, ['one', 'two'])
  launch('three')
  assert.equal(apps.length, 1)
  timers.tick(50)
  await settle()
  assert.deepEqual(at(apps, 1).tokens, ['three'])
})

const misunderstood = [
  'null',
  '"ready"',
  '[]',
  '17',
  '{}',
  '{"app":null}',
  '{"idle":true}',
  '{"token":"x"}',
  'no JSON',
  '',
]

test('what an app says by itself ends neither its SuperExec nor the care for its task', async (t) => {
  const { launch, launcher, apps, told } = setUp(t)
  launch('one')
  await settle()
  at(apps, 0).say(...misunderstood, '{"app":"last-words"}', '{"app":"last-words","words":{"reply":1}}')
  await settle()
  launch('two')
  t.mock.timers.tick(50)
  await settle()
  // The process is still at work, so the second task has a process of its own.
  assert.deepEqual(
    apps.map(({ tokens }) => tokens),
    [['one'], ['two']],
  )
  at(apps, 0).end(3)
  await settle()
  assert.match(told.one?.details ?? '', /ended before its task was done \(exit status 3\)/)
  assert.equal(told.two, undefined)
  await launcher.close()
})

test('an app that says twice that it is idle does not get two tasks at once', async (t) => {
  const { launch, apps } = setUp(t)
  launch('one')
  await settle()
  at(apps, 0).sayIdle()
  at(apps, 0).sayIdle()
  await settle()
  launch('two')
  launch('three')
  t.mock.timers.tick(50)
  await settle()
  assert.deepEqual(
    apps.map(({ tokens }) => tokens),
    [['one', 'two'], ['three']],
  )
})

test('an app that floods its SuperExec is ended, and its task fails with the reason', async (t) => {
  const { launch, apps, told, lines } = setUp(t)
  launch('one')
  await settle()
  at(apps, 0).say(`"${'x'.repeat(limits.appMessageBytesMax)}"`, ...Array<string>(limits.appNonsenseMax).fill('null'))
  await settle()
  assert.deepEqual(at(apps, 0).signals, ['SIGTERM'])
  assert.match(told.one?.details ?? '', /ended by SIGTERM/)
  assert.ok(lines.some((line) => /floods its SuperExec/.test(line)))
})

test('what a ClientApp prints is in the log; what a ServerApp prints is the log of its run, and not here', async (t) => {
  const { launch, apps, lines } = setUp(t)
  launch('one')
  launch('two', 2n, { program: 'flwr-serverapp' })
  for (const app of apps) {
    app.stdout.write('to stdout\n')
    app.stderr.write('to stderr\n')
  }
  await settle()
  assert.deepEqual(lines.slice(2).sort(), ['info to stderr', 'info to stdout'])
})

test('a ServerApp that dies fails with the error that it wrote last', async (t) => {
  const { launch, apps, told } = setUp(t)
  launch('one', 1n, { program: 'flwr-serverapp' })
  await settle()
  at(apps, 0).stderr.write('loading\nRangeError: no such partition\n    at main (server.ts:3)\n')
  await settle()
  at(apps, 0).end(1)
  await settle()
  assert.deepEqual(told.one, {
    subStatus: 'failed',
    details: 'The app process ended before its task was done (exit status 1: RangeError: no such partition).',
    processLost: true,
  })
})

test('ServerApps outlast their server until the last has ended, or until no server has known them for long', async (t) => {
  for (const comesBack of [true, false]) {
    const { launcher, launch, apps, lines } = setUp(t)
    launch('server', 1n, { program: 'flwr-serverapp' })
    launch('client', 2n)
    await settle()
    let sleeps = 0
    const startedAt = systemClock.now()
    const clock = {
      now: () => startedAt + sleeps * 10_000,
      sleep: async () => {
        sleeps += 1
        if (comesBack && sleeps === 3) at(apps, 0).end(0)
        await settle()
      },
    }
    await launcher.outlast({ clock, keepMs: 60_000, signal: new AbortController().signal })
    // The ClientApp belongs to a simulation, which has ended.
    assert.deepEqual(at(apps, 1).signals, ['SIGTERM'])
    assert.equal(sleeps, comesBack ? 3 : 7)
    assert.equal(lines.at(-1)?.includes('did not come back'), !comesBack, lines.join('\n'))
    t.mock.timers.reset()
  }
})

test('there is room for a bounded number of apps, half of which may be ServerApps, and idle processes make room', async (t) => {
  const { launcher, launch, apps, lines } = setUp(t)
  const both = ['flwr-serverapp', 'flwr-clientapp']
  let runs = 0n
  const fill = (count: number, program: AcquiredTask['program']): void => {
    for (let one = 0; one < count; one++) launch(`${++runs}`, runs, { program })
  }
  fill(limits.serverAppsMax - 1, 'flwr-serverapp')
  assert.deepEqual(launcher.programsWithRoom(), both)
  fill(1, 'flwr-serverapp')
  assert.deepEqual(launcher.programsWithRoom(), ['flwr-clientapp'])
  fill(limits.appProcessesMax - limits.serverAppsMax, 'flwr-clientapp')
  assert.deepEqual(launcher.programsWithRoom(), [])
  assert.equal(lines.filter((line) => line.includes('As many apps run')).length, 1)
  await settle()
  at(apps, limits.serverAppsMax).sayIdle()
  at(apps, 0).end(0)
  await settle()
  assert.deepEqual(launcher.programsWithRoom(), both)
  fill(1, 'flwr-serverapp')
  assert.deepEqual(launcher.programsWithRoom(), [])
  assert.deepEqual(at(apps, limits.serverAppsMax).signals, ['SIGTERM'])
})

test('a process that the system cannot start fails its task, and the next task is launched', async (t) => {
  const broken = new EventEmitter()
  const starts: (() => FakeApp)[] = [
    () => assert.fail('spawn ENOMEM'),
    () => broken as unknown as FakeApp,
    () => new FakeApp(),
  ]
  const { launch, apps, told } = setUp(t, { startApp: () => (starts.shift() as () => FakeApp)() })
  launch('no memory')
  launch('no descriptors')
  broken.emit('error', new Error('spawn EMFILE'))
  launch('good')
  await settle()
  assert.match(told['no memory']?.details ?? '', /could not be started: spawn ENOMEM/)
  assert.match(told['no descriptors']?.details ?? '', /could not be started: the system has no descriptors left/)
  assert.deepEqual(apps.at(-1)?.tokens, ['good'])
})

test('the end of a run ends processes that wait for its next task, and others when their task is done', async (t) => {
  const { launch, launcher, apps } = setUp(t)
  launch('one')
  launch('other', 2n)
  await settle()
  at(apps, 0).sayIdle()
  await settle()
  launcher.endRuns([1n, 2n])
  assert.deepEqual(
    apps.map(({ signals }) => signals),
    [['SIGTERM'], []],
  )
  at(apps, 1).sayIdle()
  await settle()
  assert.deepEqual(at(apps, 1).signals, ['SIGTERM'])
})

test('a process that no task needs for a minute ends', async (t) => {
  const { launch, apps, timers } = setUp(t)
  launch('one')
  await settle()
  at(apps, 0).sayIdle()
  await settle()
  timers.tick(59_999)
  assert.deepEqual(at(apps, 0).signals, [])
  timers.tick(1)
  assert.deepEqual(at(apps, 0).signals, ['SIGTERM'])
})

test('after the end of an app the next run finds one process that has started and has worked for no other', async (t) => {
  const memory = t.mock.method(process, 'availableMemory', () => limits.readyAppFreeMemoryMin)
  const { launcher, launch, apps, timers } = setUp(t)
  launch('one')
  launch('other', 2n)
  for (const app of [...apps]) app.end(0)
  await settle()
  timers.tick(2000)
  assert.deepEqual(
    apps.slice(2).map(({ tokens }) => tokens),
    [[]],
  )
  launch('server', 3n, { program: 'flwr-serverapp' })
  launch('two', 3n)
  launch('three', 4n)
  await settle()
  assert.deepEqual(
    apps.slice(2).map(({ tokens }) => tokens),
    [['two'], ['server'], ['three']],
  )
  for (const app of [...apps]) app.end(0)
  await settle()
  timers.tick(2000)
  const ready = apps.slice(5)
  assert.equal(ready.length, 2, 'one of each program')
  timers.tick(15 * 60_000)
  assert.deepEqual(
    ready.map(({ signals }) => signals),
    [['SIGTERM'], ['SIGTERM']],
  )
  launch('last', 5n)
  at(apps, 7).end(0)
  await settle()
  memory.mock.mockImplementation(() => limits.readyAppFreeMemoryMin - 1)
  timers.tick(2000)
  assert.equal(apps.length, 8, 'no process is started in advance while memory is scarce')
  memory.mock.restore()
  launch('more', 6n)
  await launcher.close()
  timers.tick(2000)
  assert.equal(apps.length, 9, 'no process is started for a SuperExec that ends')
})

test('a process that was started in advance and has died is not given a task', async (t) => {
  t.mock.method(process, 'availableMemory', () => limits.readyAppFreeMemoryMin)
  const { launch, apps, told, timers } = setUp(t)
  launch('one')
  at(apps, 0).end(0)
  await settle()
  timers.tick(2000)
  at(apps, 1).end(null, 'SIGKILL')
  launch('two', 2n)
  await settle()
  assert.deepEqual(at(apps, 2).tokens, ['two'])
  assert.equal(told.two, undefined)
})

test('a task that comes while an idle process is ending gets another process', async (t) => {
  const { launch, apps, told, timers } = setUp(t)
  launch('one')
  await settle()
  const [first] = apps as [FakeApp]
  first.sayIdle()
  await settle()
  // It takes its time.
  first.kill = (signal) => void first.signals.push(signal)
  timers.tick(60_000)
  assert.deepEqual(first.signals, ['SIGTERM'])
  launch('two')
  await settle()
  first.end(null, 'SIGTERM')
  await settle()
  assert.deepEqual(
    apps.map(({ tokens }) => tokens),
    [['one'], ['two']],
  )
  assert.equal(told.two, undefined)
})

test("where the server needs it, a dead app's task ends with its last words, or without damaged ones", async (t) => {
  const { launch, apps, told, replies } = setUp(t, { needsLastWords: true })
  const words: LastWords = { reply: '', objects: [], context: '' }
  const damaged: LastWords = { ...words, context: Buffer.from([0xff]).toString('base64') }
  for (const [token, left] of Object.entries({ good: words, bad: damaged })) {
    launch(token, token === 'good' ? 1n : 2n)
    await settle()
    const app = apps.at(-1) as FakeApp
    assert.equal(app.received[0]?.wantsLastWords, true)
    app.say(JSON.stringify({ app: 'last-words', words: left }))
    await settle()
    app.end(null, 'SIGSEGV')
    await settle()
  }
  assert.deepEqual(replies, ['good'])
  assert.equal(told.good?.context === undefined, false)
  assert.equal(told.bad?.context, undefined)
  for (const token of ['good', 'bad']) assert.match(told[token]?.details ?? '', /ended by SIGSEGV/)
})

test('last words that the server does not need are not taken', async (t) => {
  const { launch, apps, replies, told } = setUp(t)
  launch('one')
  await settle()
  at(apps, 0).say(JSON.stringify({ app: 'last-words', words: { reply: '', objects: [], context: '' } }))
  await settle()
  at(apps, 0).end(1)
  await settle()
  assert.deepEqual(replies, [])
  assert.equal(told.one?.subStatus, 'failed')
})

test('a Python app at a site without Python fails with a sentence', async (t) => {
  const { launch, told } = setUp(t)
  launch('one', 1n, { component: 'app.client:app', program: 'flwr-serverapp' })
  while (!told.one) await new Promise((resolve) => setImmediate(resolve))
  assert.match(told.one?.details ?? '', /Python/)
})

test('where the server does not tell the language of an app, the configuration does', async (t) => {
  const { launch, apps, told } = setUp(t, { apps: 'python' })
  launch('unknown', 1n, { component: undefined, program: 'flwr-serverapp' })
  launch('known')
  while (!told.unknown) await new Promise((resolve) => setImmediate(resolve))
  assert.match(told.unknown?.details ?? '', /Python/)
  assert.deepEqual(
    apps.map(({ tokens }) => tokens),
    [['known']],
  )
})
