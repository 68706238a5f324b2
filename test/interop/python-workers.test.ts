import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TaskSource } from '../../src/app-api/task-source.ts'
import { limits } from '../../src/base/limits.ts'
import { buildFab } from '../../src/fab/bundle.ts'
import { errorCodes } from '../../src/message/message.ts'
import { NdArray } from '../../src/message/nd-array.ts'
import { ArrayRecord, ConfigRecord, RecordDict } from '../../src/message/records.ts'
import { recordDictFromWire } from '../../src/message/wire.ts'
import { AppConsole } from '../../src/superexec/app-console.ts'
import { PythonApps } from '../../src/superexec/python-apps.ts'
import { RelayedMessages } from '../../src/superexec/relayed-messages.ts'
import type { StartedApp } from '../../src/superexec/started-app.ts'
import { TaskGuard } from '../../src/superexec/task-guard.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { FakeTaskServer, instructionFor } from '../harness/fake-task-server.ts'
import { writeMixedApp } from '../harness/python-apps.ts'
import { pythonOf, type Release, withoutReleases } from '../harness/python-flower.ts'
import { recordingLogger } from '../harness/recording-logger.ts'

/** Workers run the ClientApps of old and new releases of Flower; the test is their server. */

const client = `import os
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.query()
def query(message, context):
    what = message.content["c"]["what"]
    if what == "raise":
        raise ValueError("no data here")
    if what == "exit":
        raise SystemExit(3)
    seen = int(context.state["seen"]["count"]) + 1 if "seen" in context.state else 1
    context.state["seen"] = ConfigRecord({"count": seen})
    print("SEEN", seen)
    weights = message.content["arrays"]["w"].numpy() * 2
    about = ConfigRecord({"pid": os.getpid(), "run": context.run_id, "of": message.metadata.message_id})
    return Message(RecordDict({"arrays": ArrayRecord({"w": Array(weights)}), "about": about}), reply_to=message)
`

for (const release of ['1.29', '1.41', '1.43'] satisfies Release[])
  test(`a worker replies, keeps states, reports exceptions and ends with its app: ${release}`, {
    skip: withoutReleases(release),
  }, async () => {
    using directory = temporaryDirectory()
    await using relay = setUp(release, directory)
    const { server, run } = relay

    const pids = new Set<unknown>()
    for (const round of [1, 2]) {
      const id = await run('train')
      const reply = server.pushed.at(-1)
      assert.ok(reply)
      assert.deepEqual([...(reply.content.arrays('arrays').get('w')?.values() ?? [])], [2, 5])
      const about = reply.content.config('about')
      assert.deepEqual([about.get('of'), about.get('run'), reply.metadata.replyToMessageId], [id, 5, id])
      pids.add(about.get('pid'))
      assert.equal(server.outcome?.subStatus, 'completed')
      server.state = recordDictFromWire(server.outcome?.context?.state as never)
      assert.equal(server.state.config('seen').get('count'), round)
    }
    assert.equal(pids.size, 1)

    const id = await run('raise')
    const reply = server.pushed.at(-1)
    assert.equal(reply?.error?.code, errorCodes.clientAppRaisedException)
    assert.equal(reply?.error?.reason, `<class 'ValueError'>:<'no data here'>`)
    assert.equal(reply?.metadata.replyToMessageId, id)
    assert.deepEqual([server.outcome?.subStatus, server.outcome?.details], ['failed', reply?.error?.reason])

    await run('exit')
    assert.match(server.outcome?.details ?? '', /exit status 3/)
    await run('train')
    const other = server.pushed.at(-1)?.content.config('about').get('pid')
    assert.equal(pids.has(other), false)
    assert.ok(
      relay.lines.some((line) => /SEEN 2/.test(line)),
      relay.lines.join('\n'),
    )
  })

function setUp(release: Release, { file }: { file: (name: string) => string }) {
  process.env.FLWR_HOME = file('home')
  const fab = buildFab(
    writeMixedApp(file('testapp'), {
      server: { language: 'python', source: 'app = 1\n' },
      client: { language: 'python', source: client },
    }),
  )
  const server = new FakeTaskServer()
  server.objectsBytesMax = limits.carriedBytesMax
  server.app = { fabId: 'test/testapp', fabVersion: '1.0.0', hashStr: fab.hash, content: Buffer.from(fab.bytes) }
  const { log, lines } = recordingLogger()
  const console = new AppConsole(log)
  const config = {
    ...{ serverAddress: '127.0.0.1:1', trustArguments: ['--insecure'], apps: 'python' as const },
    ...{ python: pythonOf(release), keepImports: true, dependencyInstallation: false },
  }
  const apps = new PythonApps(config, console)
  const source = { needsLastWords: false, open: () => server.api } as unknown as TaskSource
  let leftAlone: (error: Error) => void = () => {}
  const started: StartedApp[] = []
  const relayed = new RelayedMessages({
    source,
    log,
    startWorker: (task, onConnection) => apps.startWorker(task, onConnection),
    guard: (task, kill) => new TaskGuard({ source, task, log, kill }),
    adopt(app, onEnd) {
      started.push(app)
      void app.ended.then(onEnd)
    },
    launchAlone: () => leftAlone(new Error('The message was left to the program of Flower')),
  })
  const run = async (what: string): Promise<string> => {
    const w = NdArray.build('float32', [2], (values) => {
      values[0] = 1
      values[1] = 2.5
    })
    const message = instructionFor(new RecordDict({ c: new ConfigRecord({ what }), arrays: new ArrayRecord({ w }) }))
    const ended = Promise.withResolvers<void>()
    server.onFinished = ended.resolve
    leftAlone = ended.reject
    const id = server.offer(message)
    const task = { taskId: 1n, runId: 5n, program: 'flwr-clientapp', component: undefined, token: 't' } as const
    assert.ok(relayed.take(task))
    await ended.promise
    server.forget(message)
    return id
  }
  return {
    ...{ server, run, lines },
    async [Symbol.asyncDispose]() {
      relayed.close()
      await Promise.all(started.map(({ ended }) => ended))
      apps.close()
      await console.close()
    },
  }
}
