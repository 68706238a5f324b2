import assert from 'node:assert/strict'
import { test } from 'node:test'
import { observeQueries } from '../../../test/harness/query-plans.ts'
import { certificatePeer, openConnection, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import { nextExpiry } from '../delivery/node-messages.ts'
import { activateNode, expireNodes, findCredentialNode, heartbeat, registerNode } from './nodes.ts'

const peer = certificatePeer('site', { identitySharing: 'allow' })
const nodesMax = 200

test('what a SuperNode costs that joins and beats does not grow with the SuperNodes that share its identity', async () => {
  await using core = await SuperlinkCore.start()
  const watch = observeQueries(core.ctx.db)
  const { ctx } = core
  const join = async (key: string) => {
    const credential = { kind: 'certificate', peer } as const
    const { connection } = openConnection(1, peer)
    const speaker = { connection, process: key }
    await registerNode(ctx, credential, key)
    const nodeId = await activateNode(ctx, credential, { publicKey: key, heartbeatIntervalMs: 30_000, speaker })
    assert.equal((await findCredentialNode(ctx, credential, nodeId))?.publicKey, key)
    await heartbeat(ctx, nodeId, 30_000)
    assert.equal(await expireNodes(ctx), core.clock.now() + 60_000)
    assert.equal(await nextExpiry(ctx.db.read, core.clock.now()), Number.POSITIVE_INFINITY)
    return nodeId
  }
  const ids = new Set<bigint>()
  for (let index = 0; index < nodesMax; index++) ids.add(await join(`key-${index}`))
  assert.equal(ids.size, nodesMax)

  watch.start()
  await join('key-of-the-last')
  assert.equal(watch.rowsMost(), 1)
  const plans = await watch.plans()
  assert.ok(plans.length > 10)
  // By identity alone, only the few blocked nodes are read.
  for (const { sql, plan } of plans) assert.doesNotMatch(plan, /\bSCAN\b|node_identity \(identity=\?\)/, sql)
})
