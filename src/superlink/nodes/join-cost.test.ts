import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KyselyPlugin, RootOperationNode } from 'kysely'
import { certificatePeer, openConnection, SuperlinkCore } from '../../../test/harness/superlink-core.ts'
import type { Database, Db } from '../../db/database.ts'
import { nextExpiry } from '../delivery/message-store.ts'
import { activateNode, expireNodes, findCredentialNode, heartbeat, registerNode } from './nodes.ts'

const peer = certificatePeer('site', { identitySharing: 'allow' })
const nodesMax = 200

/** Notes the queries of a SuperLink, and how many rows each one reads. */
function observe(db: Database) {
  const queries = new Map<object, RootOperationNode>()
  let rowsMost = 0
  const plugin: KyselyPlugin = {
    transformQuery({ node, queryId }) {
      queries.set(queryId, node)
      return node
    },
    async transformResult({ result }) {
      rowsMost = Math.max(rowsMost, result.rows.length)
      return result
    },
  }
  const observed: Database = {
    read: db.read.withPlugin(plugin),
    transaction: (body) => db.transaction((tx, afterCommit) => body(tx.withPlugin(plugin), afterCommit)),
    close: () => db.close(),
    [Symbol.asyncDispose]: () => db.close(),
  }
  return {
    observed,
    start(): void {
      queries.clear()
      rowsMost = 0
    },
    rowsMost: () => rowsMost,
    plans: () => Promise.all([...queries].map(([queryId, node]) => planOf(db.read, { queryId } as never, node))),
  }
}

async function planOf(db: Db, { queryId }: { queryId: never }, node: RootOperationNode) {
  const compiled = db.getExecutor().compileQuery(node, queryId)
  if (node.kind === 'InsertQueryNode') return { sql: compiled.sql, plan: '' }
  const { rows } = await db.executeQuery<{ detail: string }>({ ...compiled, sql: `EXPLAIN QUERY PLAN ${compiled.sql}` })
  return { sql: compiled.sql, plan: rows.map(({ detail }) => detail).join('; ') }
}

test('what a SuperNode costs that joins and beats does not grow with the SuperNodes that share its identity', async () => {
  await using core = await SuperlinkCore.start()
  const watch = observe(core.ctx.db)
  const ctx = { ...core.ctx, db: watch.observed }
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
