import { sql } from 'kysely'
import type { NodeId } from '../../base/ids.ts'
import type { TagsBySource } from '../../base/node-tags.ts'
import { mapInTurns } from '../../base/turns.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Db } from '../../db/database.ts'
import { type IdList, jsonField, jsonTable, numberList, numbersOf } from '../../db/id-list.ts'
import { rowInserter } from '../../db/insert-rows.ts'
import { toStored } from '../../db/row.ts'
import type { Row } from '../../db/schema.ts'
import { type Statement, statement } from '../../db/statement.ts'
import type { Admission, Node, NodeStatus } from './node.ts'
import { tagsText, toNode } from './node-rows.ts'

/** Queries of the `node` table. No other file writes it. */

const columns = [
  'node_id',
  'public_key',
  'identity',
  'organization',
  'auth_method',
  'certificate_serial',
  'certificate_not_after',
  'owner_aid',
  'owner_name',
  'location',
  'name',
  'tags',
  'status',
  'admission',
  'registered_at',
  'last_activated_at',
  'last_deactivated_at',
  'unregistered_at',
  'online_until',
  'heartbeat_interval_ms',
] as const

const insertRows = rowInserter('node', columns)

export async function insert(tx: Db, node: Node): Promise<void> {
  await insertRows(tx, [
    {
      node_id: node.nodeId,
      public_key: node.publicKey ?? null,
      identity: node.identity ?? null,
      organization: node.organization ?? null,
      auth_method: node.authMethod,
      certificate_serial: node.certificateSerial ?? null,
      certificate_not_after: node.certificateNotAfter ?? null,
      owner_aid: node.ownerAid,
      owner_name: node.ownerName,
      location: node.location ?? null,
      name: node.name ?? null,
      tags: tagsText(node.tags),
      status: node.status,
      admission: node.admission,
      registered_at: node.registeredAt,
      last_activated_at: node.lastActivatedAt ?? null,
      last_deactivated_at: node.lastDeactivatedAt ?? null,
      unregistered_at: node.unregisteredAt ?? null,
      online_until: node.onlineUntil ?? null,
      heartbeat_interval_ms: node.heartbeatIntervalMs,
    },
  ])
}

const selectOne = statement<{ nodeId: NodeId }, Row<'node'>>((db, value) =>
  db.selectFrom('node').selectAll().where('node_id', '=', value('nodeId')),
)

export async function find(db: Db, nodeId: NodeId): Promise<Node | undefined> {
  const [row] = (await selectOne(db, { nodeId })).rows
  return row && toNode(row)
}

/** All nodes with the identity of this one, itself included; unregistered ones too. A key is an identity of its own. */
export async function listSameIdentity(db: Db, { nodeId, identity, organization }: Node): Promise<Node[]> {
  const query = db.selectFrom('node').selectAll()
  const same =
    identity === undefined
      ? query.where('node_id', '=', nodeId)
      : query.where('identity', '=', identity).where('organization', 'is not distinct from', organization ?? null)
  return (await same.execute()).map(toNode)
}

/** All nodes, or those that an account sees: its own, and those of certificates, which have no other owner. */
export async function list(db: Db, ownerAid?: string): Promise<Node[]> {
  let query = db.selectFrom('node').selectAll().orderBy('registered_at')
  if (ownerAid !== undefined)
    query = query.where((row) => row.or([row('owner_aid', '=', ownerAid), row('identity', 'is not', null)]))
  return (await query.execute()).map(toNode)
}

/** There may be thousands: other work goes on meanwhile. */
export async function listOnline(db: Db): Promise<Node[]> {
  return mapInTurns(await selectOnline(db).selectAll().execute(), toNode)
}

export async function countOnline(db: Db): Promise<number> {
  const row = await selectOnline(db)
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirst()
  return Number(row?.count ?? 0)
}

/** Returns the online nodes whose heartbeats have ended. */
export async function listSilent(db: Db, now: number): Promise<Node[]> {
  return (await selectOnline(db).selectAll().where('online_until', '<=', now).execute()).map(toNode)
}

/** Returns when the first of the other online nodes would be silent; Infinity if there is none. */
export async function nextSilence(db: Db, now: number): Promise<number> {
  const row = await selectOnline(db)
    .select(({ fn }) => fn.min('online_until').as('at'))
    .where('online_until', '>', now)
    .executeTakeFirst()
  return row?.at ?? Number.POSITIVE_INFINITY
}

const selectOpen = statement<{ nodes: IdList }, { node_id: bigint }>((db, value) =>
  db
    .selectFrom('node')
    .select('node_id')
    .where('node_id', 'in', numbersOf(value('nodes')))
    .where('status', 'in', [sql.lit('online'), sql.lit('offline')])
    .where('admission', '=', sql.lit('open')),
)

/** Those of these nodes that have joined, and that an operator lets work. */
export async function listOpen(db: Db, nodeIds: readonly NodeId[]): Promise<NodeId[]> {
  const open: NodeId[] = []
  for (let start = 0; start < nodeIds.length; start += nodesPerStatement) {
    const nodes = numberList(nodeIds.slice(start, start + nodesPerStatement))
    for (const row of (await selectOpen(db, { nodes })).rows) open.push(row.node_id as NodeId)
  }
  return open
}

/** A literal, as the partial index over online nodes has it. */
function selectOnline(db: Db) {
  return db.selectFrom('node').where('status', '=', sql.lit('online'))
}

/** The SuperNodes whose certificate ends before an instant, unregistered ones left out. */
export async function listEnding(
  db: Db,
  at: number,
): Promise<(Pick<Node, 'nodeId' | 'name' | 'identity'> & { serial: string; at: number })[]> {
  const rows = await db
    .selectFrom('node')
    .select(['node_id', 'name', 'identity', 'certificate_serial', 'certificate_not_after'])
    .where('certificate_not_after', '<', at)
    .where('status', '!=', sql.lit('unregistered'))
    .execute()
  return rows.map((row) => ({
    nodeId: row.node_id as NodeId,
    name: row.name ?? undefined,
    identity: row.identity ?? undefined,
    serial: row.certificate_serial ?? '',
    at: row.certificate_not_after ?? 0,
  }))
}

/** Nodes in one statement, so that other work goes on between statements. */
const nodesPerStatement = 500

const prolongSome = statement<{ beats: string }, never>(
  (db, value) =>
    db
      .updateTable('node')
      .from(
        sql<{
          id: bigint
          until: number
        }>`(SELECT ${jsonField('pair', 0, 'integer')} AS id, ${jsonField('pair', 1, 'real')} AS until FROM ${jsonTable(value('beats'))} AS pair)`.as(
          'beat',
        ),
      )
      .set((eb) => ({ online_until: eb.ref('beat.until') }))
      .whereRef('node.node_id', '=', 'beat.id')
      // A literal, because the index of online nodes has it.
      .where('node.status', '=', sql.lit('online'))
      .whereRef('node.online_until', '<', 'beat.until') as never,
)

/** Writes until when these nodes are online, unless they have gone offline since. */
export async function prolong(tx: Db, nodes: readonly Node[]): Promise<void> {
  for (let start = 0; start < nodes.length; start += nodesPerStatement) {
    const some = nodes.slice(start, start + nodesPerStatement)
    // Ids have 64 bits, and the engines read them as such from JSON.
    const beats = some.map(({ nodeId, onlineUntil }) => `[${toStored(nodeId)},${onlineUntil}]`)
    await prolongSome(tx, { beats: `[${beats.join()}]` })
  }
}

export type NodeChange = Partial<{
  status: NodeStatus
  admission: Admission
  lastActivatedAt: number
  lastDeactivatedAt: number
  unregisteredAt: number
  onlineUntil: number
  heartbeatIntervalMs: number
  publicKey: string
  identity: string
  authMethod: Node['authMethod']
  organization: string
  certificateSerial: string
  certificateNotAfter: number
  tags: TagsBySource
}>

/** One for each set of columns that change together, of which the code has about a dozen. */
const updates = new Map<string, Statement<Record<string, unknown>, never>>()

function updateOf(changed: readonly string[]): Statement<Record<string, unknown>, never> {
  const name = changed.join()
  const known = updates.get(name)
  if (known) return known
  const created = statement<Record<string, unknown>, never>((db, value) => {
    const set = Object.fromEntries(changed.map((column) => [column, value(column)]))
    return db
      .updateTable('node')
      .set(fitting('node', set))
      .where('node_id', '=', value('nodeId') as NodeId) as never
  })
  updates.set(name, created)
  return created
}

/** `KnownNodes.update` is the one caller: what is known in memory changes with the row. */
export async function update(tx: Db, nodeId: NodeId, change: NodeChange): Promise<void> {
  const values = {
    status: change.status,
    admission: change.admission,
    last_activated_at: change.lastActivatedAt,
    last_deactivated_at: change.lastDeactivatedAt,
    unregistered_at: change.unregisteredAt,
    online_until: change.onlineUntil,
    heartbeat_interval_ms: change.heartbeatIntervalMs,
    public_key: change.publicKey,
    identity: change.identity,
    auth_method: change.authMethod,
    organization: change.organization,
    certificate_serial: change.certificateSerial,
    certificate_not_after: change.certificateNotAfter,
    tags: change.tags && tagsText(change.tags),
  }
  const changed = Object.entries(values).filter(([, value]) => value !== undefined)
  await updateOf(changed.map(([column]) => column))(tx, { ...Object.fromEntries(changed), nodeId })
}
