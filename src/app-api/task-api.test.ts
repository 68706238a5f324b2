import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DescMethodUnary } from '@bufbuild/protobuf'
import { InMemoryClient } from '../../test/harness/in-memory-client.ts'
import { SupernodeCore } from '../../test/harness/supernode-core.ts'
import { errorCatalog } from '../base/error-catalog.ts'
import { DomainError } from '../base/errors.ts'
import { type Channel, RpcError } from '../rpc/channel.ts'
import { createAppioTask } from './appio-task.ts'
import { createRuntimeTask } from './runtime-task.ts'
import { type TaskApi, TaskEndedError } from './task-api.ts'

/** What both generations of the API for apps promise to a ClientApp process, at a SuperNode of ours. */

const generations = {
  runtime: createRuntimeTask,
  appio: (options: Parameters<typeof createRuntimeTask>[0]) => createAppioTask('flwr-clientapp', options),
} as const

/** A channel to services in memory. */
function channelTo(client: InMemoryClient): Channel {
  return {
    async call(
      method: DescMethodUnary,
      request: never,
      {
        headers = {},
        waitMs,
        signal,
      }: { headers?: Record<string, string>; waitMs?: number; signal?: AbortSignal } = {},
    ) {
      signal?.throwIfAborted()
      try {
        const how = { headers, waitMs: waitMs ?? 0, ...(signal ? { signal } : {}) }
        return { message: await client.call(method, request, how), waited: waitMs !== undefined }
      } catch (error) {
        if (!(error instanceof DomainError)) throw error
        throw new RpcError(errorCatalog[error.code].status, error.publicSentence, { kind: 'peer' })
      }
    },
  } as unknown as Channel
}

for (const [name, open] of Object.entries(generations)) {
  const setUp = async () => {
    const node = await SupernodeCore.create()
    const channel = channelTo(new InMemoryClient(node.services))
    const stop = new AbortController()
    const take = async (): Promise<TaskApi> => {
      const wait = { waitMs: 15_000, signal: node.ctx.signal }
      const acquired = await node.ctx.tasks.acquire({ types: ['flwr-clientapp'], ...wait })
      return open({ channel, token: acquired?.token ?? '', log: undefined, signal: stop.signal })
    }
    return { node, take, stop, [Symbol.asyncDispose]: () => node[Symbol.asyncDispose]() }
  }

  test(`${name}: a task has an input, one message with its objects, and ends with reply and context`, async () => {
    await using world = await setUp()
    const { node, take } = world
    const id = node.instruct(7n, 50_000)
    const api = await take()
    const { context, run, fab } = await api.pullInput()
    assert.deepEqual([context.runId, run.runId], [7n, 7n])
    assert.ok((fab?.content.length ?? 0) > 0)
    assert.equal((await api.sendHeartbeat({ waitMs: 0 })).success, true)
    const { messagesList, messageObjectTrees } = await api.pullMessages(undefined)
    assert.equal(messagesList[0]?.metadata?.messageId, id)
    const objectId = messageObjectTrees[0]?.objectId ?? ''
    const about = { node: { nodeId: context.nodeId }, runId: 7n }
    const pulled = await api.pullObject({ ...about, objectId }, { waitMs: 1000 })
    assert.equal(pulled.objectAvailable, true)
    await api.confirmMessageReceived({ ...about, messageObjectId: id })
    await node.replyOver(api)
    await api.finish({ context, subStatus: 'completed', details: '' })
    await node.fleet.replied(1)
    assert.equal(node.fleet.replies[0]?.metadata?.replyToMessageId, id)
    assert.equal(node.fleet.replies[0]?.error, undefined)
  })

  test(`${name}: a task that is over is told so by every call`, async () => {
    await using world = await setUp()
    const { node, take } = world
    node.instruct(7n)
    const api = await take()
    const { context } = await api.pullInput()
    await node.replyOver(api)
    await api.finish({ context, subStatus: 'completed', details: '' })
    const about = { node: { nodeId: context.nodeId }, runId: 7n }
    const calls: (() => Promise<unknown>)[] = [
      () => api.pullInput(),
      () => api.sendHeartbeat({ waitMs: 0 }),
      () => api.pullMessages(undefined),
      () => api.pushMessages({ messagesList: [], messageObjectTrees: [] }),
      () => api.pushObject({ ...about, objectId: 'a'.repeat(64) }),
      () => api.pullObject({ ...about, objectId: 'a'.repeat(64) }, { waitMs: 0 }),
      () => api.confirmMessageReceived({ ...about, messageObjectId: 'a'.repeat(64) }),
      () => api.finish({ context, subStatus: 'failed', details: '' }),
    ]
    for (const call of calls) await assert.rejects(call(), TaskEndedError)
  })

  test(`${name}: a task starts once, an unknown token ends at once, and a refusal is an RpcError`, async () => {
    await using world = await setUp()
    const { node, take, stop } = world
    node.instruct(7n)
    const api = await take()
    await api.pullInput()
    await assert.rejects(api.pullInput(), RpcError)
    await assert.rejects(api.pushMessages({ messagesList: [], messageObjectTrees: [] }), RpcError)
    const channel = channelTo(new InMemoryClient(node.services))
    const stranger = open({ channel, token: 'f'.repeat(256), log: undefined, signal: stop.signal })
    await assert.rejects(stranger.sendHeartbeat({ waitMs: 0 }), TaskEndedError)
    stop.abort(new Error('stopped'))
    await assert.rejects(api.sendHeartbeat({ waitMs: 0 }), /stopped/)
  })
}
