import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type LinkServer, startLink } from '../../test/harness/app-servers.ts'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { channelTo } from '../../test/harness/in-memory-channel.ts'
import { InMemoryClient } from '../../test/harness/in-memory-client.ts'
import { settled } from '../../test/harness/superlink-core.ts'
import { superlinkNodeId } from '../base/ids.ts'
import { Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import { NdArray } from '../message/nd-array.ts'
import { ArrayRecord, RecordDict } from '../message/records.ts'
import { contextFromWire, contextToWire } from '../message/wire.ts'
import { createRuntimeTask } from './runtime-task.ts'
import type { TaskApi } from './task-api.ts'

const pieceBytes = 512 * 1024
const checkpointBounds = { wholeBytesMax: 600 * 1024, pieceBytes, bytesMax: 3_000_000 }
const methods = Runtime.method

/** What happens to each call: by default it is forwarded. */
type Hook = (name: string, request: Record<string, unknown>, forward: () => Promise<unknown>) => Promise<unknown>

/** The process of a ServerApp, which holds this token. */
function appOf(link: LinkServer, token: string, hook: Hook = (_name, _request, forward) => forward()): TaskApi {
  const client = new InMemoryClient(link.services)
  const call = (method: { localName: string }, request: never, callOptions: never) =>
    hook(method.localName, request, () => client.call(method as never, request, callOptions))
  const channel = channelTo({ call: call as never })
  return createRuntimeTask({ channel, token, log: undefined, signal: new AbortController().signal })
}

/** A state of this many bytes, which are all this number. */
const stateOf = (bytes: number, fill: number) =>
  contextToWire({
    ...{ runId: 1n as never, nodeId: superlinkNodeId, seriesId: 1n as never, nodeConfig: {}, runConfig: {} },
    state: new RecordDict({ model: new ArrayRecord({ w: NdArray.from(new Uint8Array(bytes).fill(fill)) }) }),
  })

/** Size and last number of the state that the app starts from. */
async function startOf(api: TaskApi): Promise<[length: number, last: number | undefined] | undefined> {
  const { state } = contextFromWire((await api.pullInput()).context)
  const values = state.has('model') ? state.arrays('model').getArray('w').values('uint8') : undefined
  return values && [values.length, Number(values.at(-1))]
}

/** How many values are stored in parts: one for each large checkpoint, complete or not. */
async function storedValues({ superlink }: LinkServer): Promise<number> {
  return (await superlink.ctx.db.read.selectFrom('part').select('name').distinct().execute()).length
}

test('a checkpoint in pieces is what the next process of the ServerApp starts from, and a run that resumes', async () => {
  await using link = await startLink({ checkpointBounds })
  let pieces = 0
  // Each response is lost once, so that each call comes twice.
  const twice: Hook = async (name, request, forward) => {
    if (name !== 'saveCheckpoint') return forward()
    pieces += 1
    assert.equal(request.context, undefined)
    await forward()
    return forward()
  }
  const app = appOf(link, await link.take(), twice)
  assert.equal(await startOf(app), undefined)
  for (const fill of [1, 2, 3]) assert.equal(await app.saveCheckpoint(stateOf(2_000_000, fill)), true)
  assert.equal(pieces, 3 * Math.ceil(2_000_100 / pieceBytes))
  assert.equal(await storedValues(link), 2, 'the last two are kept')

  assert.deepEqual(await startOf(appOf(link, await link.loseApp())), [2_000_000, 3])
  await link.superlink.stop(link.runId)
  assert.deepEqual(await startOf(appOf(link, await link.resume())), [2_000_000, 3])
})

test('the former checkpoint stays until all pieces are there, and an incomplete one leaves nothing', async () => {
  await using link = await startLink({ checkpointBounds })
  let calls = 0
  let afterTwo = async (): Promise<void> => {}
  const hook: Hook = async (name, _request, forward) => {
    const response = await forward()
    if (name === 'saveCheckpoint' && ++calls === 2) await afterTwo()
    return response
  }
  const app = appOf(link, await link.take(), hook)
  await app.pullInput()
  await app.saveCheckpoint(stateOf(1_000_000, 1))
  // The process is killed between two pieces.
  const killed = new Error('killed')
  const dies = async (): Promise<void> => {
    throw killed
  }
  calls = 0
  afterTwo = dies
  await assert.rejects(app.saveCheckpoint(stateOf(2_000_000, 2)), killed)
  assert.equal(await storedValues(link), 2)
  const next = appOf(link, await link.loseApp(), hook)
  assert.deepEqual(await startOf(next), [1_000_000, 1])
  // Another one is incomplete at the end of the run.
  afterTwo = async () => {}
  await next.saveCheckpoint(stateOf(2_000_000, 3))
  assert.equal(await storedValues(link), 2)
  calls = 0
  afterTwo = dies
  await assert.rejects(next.saveCheckpoint(stateOf(2_000_000, 4)), killed)
  assert.equal(await storedValues(link), 3)
  await link.superlink.stop(link.runId)
  for (let looks = 0; looks < 200 && (await storedValues(link)) > 2; looks++) await settled(10)
  assert.equal(await storedValues(link), 2)
})

test('a SuperLink that has lost the pieces receives them again, and pieces with another hash are refused', async () => {
  await using link = await startLink({ checkpointBounds })
  const { ctx } = link.superlink
  let calls = 0
  let isFalse = false
  const hook: Hook = async (name, request, forward) => {
    if (name === 'saveCheckpoint' && isFalse) (request.piece as { sha256: string }).sha256 = '0'.repeat(64)
    const response = await forward()
    // As at a restart of the SuperLink.
    if (name === 'saveCheckpoint' && ++calls === 2) ctx.checkpointUploads.forget(link.runId, ctx)
    return response
  }
  const app = appOf(link, await link.take(), hook)
  await app.pullInput()
  await app.saveCheckpoint(stateOf(1_500_000, 1))
  assert.equal(calls, 2 + 1 + 3)
  isFalse = true
  await assert.rejects(app.saveCheckpoint(stateOf(1_500_000, 2)), /do not have its hash: save it again/)
  assert.equal(await storedValues(link), 1)
  assert.deepEqual(await startOf(appOf(link, await link.loseApp())), [1_500_000, 1])
})

test('a SuperLink that ends between two pieces starts again with the former checkpoint alone', async () => {
  using home = temporaryDirectory()
  const folder = home.path
  {
    await using link = await startLink({ checkpointBounds, folder })
    let calls = 0
    const app = appOf(link, await link.take(), async (name, _request, forward) => {
      if (name === 'saveCheckpoint' && ++calls > 4) throw new Error('the SuperLink has ended')
      return forward()
    })
    await app.pullInput()
    await app.saveCheckpoint(stateOf(1_000_000, 1))
    await assert.rejects(app.saveCheckpoint(stateOf(2_000_000, 2)), /has ended/)
    assert.equal(await storedValues(link), 2)
  }
  await using link = await startLink({ checkpointBounds, folder })
  assert.equal(await storedValues(link), 1)
})

test('a checkpoint beyond the limit is refused with both sizes', async () => {
  await using link = await startLink({ checkpointBounds })
  const app = appOf(link, await link.take())
  await app.pullInput()
  await assert.rejects(
    app.saveCheckpoint(stateOf(3_000_000, 1)),
    /The checkpoint has 30\d+ bytes, more than the 3000000 that a SuperLink keeps/,
  )
  assert.equal(await storedValues(link), 0)
})

test('programs that know no pieces are refused with the reason', async () => {
  await using link = await startLink({ checkpointBounds })
  const seen: string[] = []
  let isOld = true
  const app = appOf(link, await link.take(), async (name, request, forward) => {
    if (name === 'saveCheckpoint') seen.push(Object.hasOwn(request, 'piece') && request.piece ? 'piece' : 'whole')
    const response = (await forward()) as { checkpointPieces?: unknown }
    if (name === 'pullTaskInput' && isOld) response.checkpointPieces = undefined
    return response
  })
  await app.pullInput()
  await assert.rejects(
    app.saveCheckpoint(stateOf(1_000_000, 1)),
    /more than the \d+ that a SuperLink keeps for this app/,
  )
  await app.saveCheckpoint(stateOf(500_000, 1))
  assert.deepEqual(seen, ['whole', 'whole'])

  isOld = false
  const next = appOf(link, await link.loseApp())
  assert.deepEqual(await startOf(next), [500_000, 1])
  await next.saveCheckpoint(stateOf(1_000_000, 2))
  const headers = { 'flwr-task-token': await link.loseApp() }
  const old = new InMemoryClient(link.services).call(methods.pullTaskInput, {}, { headers })
  await assert.rejects(old, { code: 'checkpoint-too-large', detail: /upgrade flwr-serverapp/ })
})
