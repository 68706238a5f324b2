import assert from 'node:assert/strict'
import { test } from 'node:test'
import { certificatePeer, openConnection, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { NodeTags } from '../../base/node-tags.ts'
import { noteRenewal } from '../nodes/certificate-node.ts'
import type { Node, NodeCredential } from '../nodes/node.ts'
import * as nodeStore from '../nodes/node-store.ts'
import { activateNode, registerNode } from '../nodes/nodes.ts'
import { createSuperlinkBackend } from './runtime-backend.ts'

/** A SuperLink, whose nodes are seen as a ServerApp sees them. */
async function setUp() {
  const core = await SuperlinkCore.start()
  const { runId, taskId } = await core.run()
  const join = async (credential: NodeCredential, tags: NodeTags, name = 'node'): Promise<bigint> => {
    if (credential.kind === 'key') await registerNode(core.ctx, credential, name)
    const speaker = { connection: openConnection(1).connection, process: 'one' }
    return activateNode(core.ctx, credential, { publicKey: name, heartbeatIntervalMs: 30_000, speaker, tags })
  }
  const seen = async () => {
    const { nodes = [] } = await createSuperlinkBackend(core.ctx).getNodes({ runId, taskId } as never, undefined)
    return nodes.map(({ identity, organization, tags, lastSeenAt }) => ({ identity, organization, tags, lastSeenAt }))
  }
  return { core, join, seen, [Symbol.asyncDispose]: () => core[Symbol.asyncDispose]() }
}

test('an app sees the tags of a node with a key, and when it was last heard of', async () => {
  await using world = await setUp()
  const { core, join, seen } = world
  await join({ kind: 'key', publicKey: 'node' }, { region: 'eu', gpu: 'a100' })
  const joinedAt = core.clock.now()
  core.clock.advance(10_000)
  const [node] = await seen()
  assert.deepEqual(node?.tags, { region: 'eu', gpu: 'a100' })
  assert.equal(node?.lastSeenAt, joinedAt / 1000)
})

test('a tag of the certificate wins over a flag, and the policy can ignore flags', async () => {
  await using world = await setUp()
  const { join, seen } = world
  const peer = certificatePeer('hospital-a', { organization: 'Hospital A', tags: { region: 'eu' } })
  await join({ kind: 'certificate', peer }, { region: 'us', gpu: 'a100' })
  assert.deepEqual((await seen())[0]?.tags, { region: 'eu', gpu: 'a100' })
  assert.deepEqual((await seen())[0]?.organization, 'Hospital A')
  await join({ kind: 'certificate', peer: { ...peer, allowsOwnTags: false } }, { region: 'us', gpu: 'a100' })
  assert.deepEqual((await seen())[0]?.tags, { region: 'eu' })
})

test('a renewed certificate changes its own tags alone', async () => {
  await using world = await setUp()
  const { core, join, seen } = world
  const peer = certificatePeer('hospital-a', { tags: { region: 'eu', phase: '1' } })
  const nodeId = await join({ kind: 'certificate', peer }, { gpu: 'a100' })
  const node = (await nodeStore.find(core.ctx.db.read, nodeId as never)) as Node
  await noteRenewal(core.ctx, node, { ...peer, serial: '0B', notAfter: peer.notAfter + 1, tags: { region: 'uk' } })
  assert.deepEqual((await seen())[0]?.tags, { region: 'uk', gpu: 'a100' })
})

test('a node that is online loses its own tags as soon as the policy does not accept them', async () => {
  await using world = await setUp()
  const { core, join, seen } = world
  const peer = certificatePeer('hospital-a', { tags: { region: 'eu' } })
  const nodeId = await join({ kind: 'certificate', peer }, { gpu: 'a100' })
  const node = (await nodeStore.find(core.ctx.db.read, nodeId as never)) as Node
  await noteRenewal(core.ctx, node, { ...peer, allowsOwnTags: false })
  assert.deepEqual((await seen())[0]?.tags, { region: 'eu' })
})

test('tags that are too many, too long or misleading are refused', async () => {
  await using world = await setUp()
  const { join } = world
  const many = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`key-${index}`, 'x']))
  const long = { region: 'x'.repeat(129) }
  for (const [index, tags] of [many, long, { region: '' }, { 'a b': 'c' }, { a: 'b\u202e' }, { a: 'b\n' }].entries())
    await assert.rejects(join({ kind: 'key', publicKey: `node-${index}` }, tags, `node-${index}`), {
      code: 'node-label-invalid',
    })
})
