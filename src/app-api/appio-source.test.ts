import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DescMethod } from '@bufbuild/protobuf'
import { silentLogger } from '../base/log.ts'
import type { WireStatus } from '../base/wire-status.ts'
import { type Channel, RpcError } from '../rpc/channel.ts'
import { createAppioSource } from './appio-source.ts'

/** A server of Flower 1.29 with the responses of one service; for the other it says what 1.29 says. */
function serverWith(service: string, responses: Record<string, (request: never) => object>) {
  const calls: string[] = []
  const headers: string[][] = []
  const channel = {
    async call(method: DescMethod, request: never, options: { headers: Record<string, string> }) {
      calls.push(`${method.parent.name}.${method.name}`)
      headers.push(Object.keys(options.headers))
      const answer = method.parent.name === service ? responses[method.name] : undefined
      if (!answer) throw new RpcError('unauthenticated' satisfies WireStatus, 'Authentication failed.')
      return { message: answer(request), waited: false }
    },
  } as unknown as Channel
  return { calls, headers, channel }
}

const signal = new AbortController().signal

test('the server is asked once which apps it has, and a run whose token another SuperExec has is passed over', async () => {
  const server = serverWith('ClientAppIo', {
    ListAppsToLaunch: () => ({ runIds: [1n, 2n] }),
    RequestToken: ({ runId }: { runId: bigint }) => ({ token: runId === 2n ? 'granted' : '' }),
  })
  const source = createAppioSource({ ...server, secret: undefined, program: undefined, log: silentLogger })
  const { task } = await source.acquire(signal)
  assert.deepEqual([task?.program, task?.runId, task?.token], ['flwr-clientapp', 2n, 'granted'])
  await source.acquire(signal)
  assert.deepEqual(server.calls.slice(0, 5), [
    'ServerAppIo.ListAppsToLaunch',
    'ClientAppIo.ListAppsToLaunch',
    'ClientAppIo.RequestToken',
    'ClientAppIo.RequestToken',
    'ClientAppIo.ListAppsToLaunch',
  ])
})

test('no token is taken for a simulation, and each call is signed where there is a secret', async () => {
  const server = serverWith('ServerAppIo', {
    ListAppsToLaunch: () => ({ runIds: [1n, 2n] }),
    GetRun: ({ runId }: { runId: bigint }) => ({ run: { primaryTaskType: runId === 1n ? 'simulation' : 'serverapp' } }),
    RequestToken: ({ runId }: { runId: bigint }) => ({ token: `for ${runId}` }),
  })
  const secret = Buffer.from('secret')
  const source = createAppioSource({ ...server, secret, program: 'flwr-serverapp', log: silentLogger })
  assert.equal((await source.acquire(signal)).task?.token, 'for 2')
  assert.equal(server.calls.length, 4)
  for (const names of server.headers) assert.ok(names.includes('flwr-superexec-signature'))
})

test('a server that has neither service says so itself', async () => {
  const server = serverWith('Fleet', {})
  const source = createAppioSource({ ...server, secret: undefined, program: undefined, log: silentLogger })
  await assert.rejects(source.acquire(signal), /Authentication failed/)
})

test('a question that is not answered in time is asked again over another connection', async () => {
  const asked: { timeoutMs?: number }[] = []
  let reconnections = 0
  const channel = {
    async call(_method: DescMethod, _request: never, options: { timeoutMs?: number }) {
      asked.push(options)
      throw new RpcError('deadline-exceeded', 'It did not answer in time.')
    },
    reconnect() {
      reconnections += 1
    },
  } as unknown as Channel
  const source = createAppioSource({ channel, secret: undefined, program: 'flwr-clientapp', log: silentLogger })
  await assert.rejects(source.acquire(signal), { retryable: true, message: /did not answer in time/ })
  assert.deepEqual([asked.length, reconnections], [1, 1])
  assert.ok((asked[0]?.timeoutMs ?? 0) > 0)
})
