import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { TaskCalls } from '../../src/app-api/task-calls.ts'
import type { Logger } from '../../src/base/log.ts'
import { ActivateNodeResponseSchema } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { generateNodeKey } from '../../src/identity/node-key.ts'
import { type CallFailure, callFailures } from '../../src/rpc/call-failures.ts'
import type { Channel } from '../../src/rpc/channel.ts'
import { RpcError } from '../../src/rpc/rpc-error.ts'
import { ServerWait } from '../../src/rpc/server-wait.ts'
import { ServerTrouble } from '../../src/superexec/server-trouble.ts'
import { FleetClient, fleet } from '../../src/supernode/fleet.ts'
import { FakeClock, letPass } from '../harness/fake-clock.ts'
import { randomFrom } from '../harness/random.ts'
import { recordingLogger } from '../harness/recording-logger.ts'

const below = randomFrom(11)
mock.method(Math, 'random', () => below(1000) / 1000)

/** A server that fails in one way, a number of times, and responds after that. */
class FailingServer {
  readonly clock = new FakeClock()
  readonly signal = new AbortController().signal
  readonly logged = recordingLogger()
  calls = 0
  failuresLeft = 0
  error = new RpcError('unavailable', 'x')

  fail(times: number, failure: CallFailure, retryAfterMs?: number): void {
    this.failuresLeft = times
    this.error = new RpcError('unavailable', `The server fails: ${failure}.`, { failure, retryAfterMs })
  }

  call = async (): Promise<{ message: object; waited: boolean }> => {
    this.calls += 1
    if (this.failuresLeft-- > 0) throw this.error
    return { message: create(ActivateNodeResponseSchema), waited: true }
  }

  get channel(): Channel {
    return { call: this.call, reconnect() {} } as unknown as Channel
  }

  get log(): Logger {
    return this.logged.log
  }
}

/** How each long-lived client of a server makes a call. */
const programs: Readonly<Record<string, (server: FailingServer) => () => Promise<unknown>>> = {
  SuperNode: ({ channel, clock, log, signal }) => {
    const key = generateNodeKey()
    const config = {
      ...{ key, keyIsAutomatic: true, tags: {}, hasCertificate: true },
      ...{ maxRetries: undefined, maxWaitMs: undefined },
    }
    const client = new FleetClient({ config, channel, clock, log, signal })
    return () => client.call(fleet.activateNode, {})
  },
  SuperExec: ({ call, clock, log, signal }) => {
    const trouble = new ServerTrouble({ address: 'test:1', clock, log, signal })
    return () => trouble.overcome(call)
  },
  'app process': ({ channel, clock, log, signal }) => {
    const options = { channel, token: 't', log, signal, clock }
    const calls = new TaskCalls(options, { tokenHeader: 'flwr-task-token', endedBy: [] })
    return () => calls.call(Runtime.method.getNodes, {})
  },
}

/** Whether a call comes to a good end, however much time passes. */
async function succeeds(server: FailingServer, call: () => Promise<unknown>): Promise<boolean> {
  let outcome: boolean | undefined
  call().then(
    () => {
      outcome = true
    },
    () => {
      outcome = false
    },
  )
  await letPass(server.clock, 'the end of a call', () => outcome !== undefined)
  return outcome as boolean
}

for (const [failure, { waiting }] of Object.entries(callFailures) as [CallFailure, { waiting: string }][]) {
  test(`waiting ${waiting === 'no' ? 'does not help' : waiting}: ${failure}`, async () => {
    for (const [name, start] of Object.entries(programs)) {
      const atStart = new FailingServer()
      atStart.fail(2, failure)
      const isPassing = waiting === 'helps' || waiting === 'a few times'
      assert.equal(await succeeds(atStart, start(atStart)), isPassing, `${name} at its start`)
      assert.equal(atStart.calls, isPassing ? 3 : 1, name)

      const later = new FailingServer()
      const call = start(later)
      assert.ok(await succeeds(later, call))
      later.fail(2, failure)
      assert.equal(await succeeds(later, call), waiting !== 'no', `${name} later`)
      if (waiting !== 'a few times') continue
      later.fail(1000, failure)
      assert.equal(await succeeds(later, call), false, `${name}, again and again`)
    }
  })
}

test('what is waited for is logged at first, for each new reason, every 30 seconds, and at the end', async () => {
  for (const [name, start] of Object.entries(programs)) {
    const server = new FailingServer()
    const call = start(server)
    server.fail(100, 'settings-cut')
    assert.ok(await succeeds(server, call), name)
    const { lines } = server.logged
    assert.match(lines[0] ?? '', /^warn Waiting for .*: The server fails: settings-cut\.$/)
    assert.match(lines.at(-1) ?? '', /^info .* responds again$/)
    const repeated = lines.slice(1, -1)
    for (const line of repeated) assert.match(line, /^info Still waiting for .*, since 2026-/)
    // 100 pauses of 10 s on average, and at most one line in 30 s.
    assert.ok(repeated.length > 8 && repeated.length < 50, `${name}: ${repeated.length} lines`)
  }
})

test('a busy server is asked again when it says, or up to half as late again', async () => {
  for (const [name, start] of Object.entries(programs)) {
    const server = new FailingServer()
    const call = start(server)
    server.fail(1, 'busy', 60_000)
    const startedAt = server.clock.now()
    assert.ok(await succeeds(server, call), name)
    const waitedMs = server.clock.now() - startedAt
    assert.ok(waitedMs >= 60_000 && waitedMs <= 90_000, `${name}: ${waitedMs}`)
  }
})

test('while the address refuses connections a program tries every one to two seconds, however long that lasts', async () => {
  for (const [name, start] of Object.entries(programs)) {
    const server = new FailingServer()
    const call = start(server)
    server.fail(200, 'connection-refused')
    const startedAt = server.clock.now()
    assert.ok(await succeeds(server, call), name)
    const perTryMs = (server.clock.now() - startedAt) / 200
    assert.ok(perTryMs > 500 && perTryMs <= 2000, `${name}: ${perTryMs}`)
  }
})

test('failures that take turns, as those of several calls do, are logged once in 30 seconds each', () => {
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  const wait = new ServerWait({ server: 'the SuperLink', clock, log })
  for (let tries = 0; tries < 290; tries++) {
    wait.failed(new RpcError('unavailable', tries % 2 === 0 ? 'It broke.' : 'It is away.'), 100)
    clock.advance(100)
  }
  assert.equal(lines.length, 2, lines.join('\n'))
  for (let tries = 0; tries < 100; tries++) wait.failed(new RpcError('unavailable', `Reason ${tries}`), 100)
  assert.ok(lines.length < 30, `${lines.length} lines`)
  wait.over()
  assert.equal(lines.at(-1), 'info The SuperLink responds again')
})
