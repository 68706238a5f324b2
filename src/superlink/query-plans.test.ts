import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { create } from '@bufbuild/protobuf'
import { Kysely } from 'kysely'
import { observeQueries } from '../../test/harness/query-plans.ts'
import { SuperlinkCore } from '../../test/harness/superlink-core.ts'
import { onlyWithSqlite } from '../../test/harness/test-database.ts'
import { DomainError } from '../base/errors.ts'
import type { Db } from '../db/database.ts'
import { idList } from '../db/id-list.ts'
import { forgetParts, prepareValue } from '../db/large-values.ts'
import { SimulationConfigSchema } from '../gen/flwr/proto/federation_config_pb.ts'
import { signSuperexecCall } from '../identity/superexec-signature.ts'
import { objectId as sha256 } from '../objects/object-format.ts'
import { SuperexecGate } from '../tasks/superexec-auth.ts'
import * as taskStore from '../tasks/task-store.ts'
import { keepFab } from './apps/fabs.ts'
import type { Node } from './nodes/node.ts'
import * as nodeStore from './nodes/node-store.ts'
import * as checkpointStore from './runs/checkpoint-store.ts'
import * as runStore from './runs/run-store.ts'
import * as nodeStateStore from './simulation/node-state-store.ts'

/**
 * Explains every statement of the SuperLink. It calls each exported function of each file that builds queries, with values by
 * the names of the parameters, and fails if a query of these files was not executed. SQLite plans without statistics here,
 * so plans do not depend on how full the tables are. On PostgreSQL the statements are executed, and not explained.
 */

const source = join(import.meta.dirname, '..')

/** Commands for operators read everything, in a process of their own. */
const notServing = /^superlink\/maintenance\/|^objects\/object-check|^db\/copy-rows/

/** Plans that read a whole table or sort what they read, each with its reason. */
const exceptions: readonly { readonly sql: RegExp; readonly reason: string }[] = [
  { sql: /^select \* from .node. .*order by "registered_at"$/, reason: 'An operator lists all SuperNodes.' },
  { sql: /^select "run"\.\*.* order by "task"\."pending_at" desc$/, reason: 'A program asks for all runs.' },
  {
    sql: /^select "run"\.\*.* limit \? offset \?$/,
    reason: 'A person pages through runs, each time with other numbers.',
  },
  {
    sql: /"reply" .*"message"\."state" = 'fetched'/,
    reason: 'Once, at the start: it reads all messages to find some.',
  },
  {
    sql: /^select distinct "message_object"\."message_id"/,
    reason: 'Once, at the start: it looks for what a crash left.',
  },
  {
    sql: /^select distinct "run_id" from "message"/,
    reason: 'Once, at the start: it lists the runs that have messages.',
  },
  { sql: /^select count\(\*\) as "count" from "outbox"$/, reason: 'Metrics are read: the outbox is bounded.' },
  {
    sql: /^select sum\("size"\) as "bytes" from "object" where available = 1 AND content IS NULL$/,
    reason:
      'Only with --quota-disk: when it seems to leave no room, every few seconds at most, and when metrics are read.',
  },
  {
    sql: /^select "object_id" from "object" where "available" = 1 and "content" is null limit 10$/,
    reason: 'A few times, at the start: until the first large objects.',
  },
  { sql: /^select "name" from "part" where "position" = \?$/, reason: 'Once, at the start, of an index.' },
]

/** Indexes that hold open rows alone. Some statements ask for all of these. */
const openRows = /^SCAN \w+ USING (COVERING )?INDEX (task_open|node_online|message_announced|message_expiry)$/

const builders = ['selectFrom', 'insertInto', 'updateTable', 'deleteFrom'] as const

/** Where queries are built: file and line. Those within other queries have no handle in front. */
function querySites(): Map<string, number[]> {
  const sites = new Map<string, number[]>()
  for (const file of globSync('**/*.ts', { cwd: source })) {
    if (file.endsWith('.test.ts') || notServing.test(file)) continue
    const lines = readFileSync(join(source, file), 'utf8').split('\n')
    const found = lines.flatMap((line, index) => (isSite(lines, index, line) ? [index + 1] : []))
    if (found.length > 0) sites.set(file, found)
  }
  return sites
}

function isSite(lines: readonly string[], index: number, line: string): boolean {
  const at = line.search(/\b(selectFrom|insertInto|updateTable|deleteFrom)\(/)
  if (at < 0) return false
  const before = `${lines[index - 1] ?? ''}${line.slice(0, at)}`
  return /\b(db|tx|read)\s*\.$/.test(before)
}

/** Notes where the queries that are executed are built. */
function observeSites(): Set<string> {
  const seen = new Set<string>()
  for (const name of builders) {
    const prototype = Kysely.prototype as unknown as Record<string, (...given: unknown[]) => unknown>
    const build = prototype[name] as (...given: unknown[]) => unknown
    prototype[name] = function (this: unknown, ...given: unknown[]) {
      const caller = new Error().stack?.split('\n')[2] ?? ''
      const [, file, line] = /src\/([^:]+):(\d+)/.exec(caller) ?? []
      seen.add(`${file}:${line}`)
      return build.apply(this, given)
    }
  }
  return seen
}

test('every statement of a SuperLink can be executed, reads no whole table that grows, and is prepared once', async () => {
  const seen = observeSites()
  await using core = await SuperlinkCore.start()
  const { plans } = observeQueries(core.ctx.db)
  const values = await fill(core)
  const sites = querySites()
  for (const file of sites.keys()) {
    const module = (await import(pathToFileURL(join(source, file)).href)) as Record<string, unknown>
    for (const [name, action] of Object.entries(module)) {
      if (typeof action === 'function') await call(core, `${file}:${name}`, action as Action, values)
    }
  }
  const unseen = [...sites].flatMap(([file, lines]) =>
    lines.map((line) => `${file}:${line}`).filter((site) => !seen.has(site)),
  )
  assert.deepEqual(unseen, [], 'These queries were not tried: give their functions values with which they execute them')
  // PostgreSQL plans by statistics.
  if (onlyWithSqlite()) return
  const explained = await plans()
  const faults = explained.flatMap(({ sql, plan }) => {
    const fault = faultOf(sql, plan)
    return fault && !exceptions.some((exception) => exception.sql.test(sql)) ? [`${fault}: ${sql}\n   ${plan}`] : []
  })
  assert.deepEqual(faults, [], faults.join('\n'))
  for (const { sql, reason } of exceptions)
    assert.ok(
      explained.some((one) => sql.test(one.sql) && faultOf(one.sql, one.plan)),
      `No longer needed: ${reason}`,
    )
})

/** Tables that do not grow with nodes, runs or time. */
const small = /^SCAN (setting|simulation_settings)$/

function faultOf(sql: string, plan: string): string | undefined {
  // SQLite prepares the statement anew at each execution.
  if (/\blimit \?/.test(sql)) return 'A bound limit'
  if (
    /"(state|status|available|admission)" (=|in|<>|not in) \(?\?/.test(
      sql.replace(/^(update .*? where |insert .*)/, ''),
    )
  )
    return 'A bound term of a partial index'
  const step = plan
    .split('; ')
    .find(
      (one) =>
        /^SCAN /.test(one) &&
        !small.test(one) &&
        !openRows.test(one) &&
        !/SCAN (CONSTANT ROW|LIST|\d+-ROW VALUES CLAUSE)/.test(one),
    )
  return step && `Reads a whole table (${step})`
}

type Action = (...given: unknown[]) => unknown
type Values = Readonly<Record<string, unknown>>

class RolledBack extends Error {}

/** Calls a function whose first parameter is a handle of the database; what it writes is rolled back. */
async function call(core: SuperlinkCore, name: string, action: Action, values: Values): Promise<void> {
  const [handle, ...names] = parametersOf(action)
  if (handle !== 'db' && handle !== 'tx') return
  const { db } = core.ctx
  const variants = (values[name] ?? [{}]) as readonly Values[]
  for (const variant of variants) {
    const given = names.map((parameter) => {
      // The stores of objects take lists of ids as one value.
      const objectIds = name.startsWith('objects/') ? { ids: values.listed, parts: [] } : {}
      const bag: Values = { ...values, ...objectIds, ...variant }
      if (parameter.startsWith('{')) return bag
      assert.ok(parameter in bag, `Give ${name} a value for its parameter ${parameter}`)
      return bag[parameter]
    })
    if (variant.needsDatabase) {
      await action(db, ...given)
      continue
    }
    const body = async (tx: Db): Promise<never> => {
      await action(tx, ...given)
      throw new RolledBack()
    }
    await db.transaction(body).catch((error: unknown) => {
      // Some refuse these values after they have looked at the rows.
      if (!(error instanceof RolledBack || error instanceof DomainError))
        throw new Error(`${name} failed: give it other values in fill()`, { cause: error })
    })
  }
}

/** The names of a function's parameters; `{` for one that is taken apart. */
function parametersOf(action: Action): string[] {
  const [, list = ''] = /^[^(]*\(([\s\S]*?)\)\s*\{/.exec(action.toString()) ?? []
  return list
    .replaceAll(/\{[^}]*\}/g, '{')
    .split(',')
    .map((part) => part.split('=')[0]?.trim() ?? '')
    .filter((part) => part !== '')
}

/** A SuperLink with something in each table, and the values that functions are called with, by the names of parameters. */
async function fill(core: SuperlinkCore): Promise<Values> {
  const { db, clock } = core.ctx
  const now = clock.now()
  const nodeId = await core.join('node')
  const { runId, taskId } = await core.run()
  const instruction = core.instruction(runId, nodeId)
  await core.push(runId, [instruction])
  const unprompted = core.unprompted(runId, nodeId)
  await core.sendUnprompted(unprompted)
  const { messageId, deflated } = instruction
  const [objectId = ''] = deflated.objects.keys()
  const large = new Uint8Array(1_000_000)
  const kept = () => prepareValue(db, large)
  const [fabValue, seriesValue, checkpointValue] = [await kept(), await kept(), await kept()]
  await db.transaction(async (tx) => {
    await keepFab(tx, 'hash', fabValue)
    await runStore.upsertSeries(tx, { series_id: 7n, federation: 'f', context: seriesValue })
    await checkpointStore.insert(tx, {
      runId,
      savedAt: 0,
      launch: 1,
      prepared: { context: checkpointValue, sha256: sha256(large) } as never,
    })
    await nodeStateStore.put(tx, runId, nodeId, await prepareValue(db, new Uint8Array()))
  })
  await (await kept())[Symbol.asyncDispose]()
  const largeParts = '5000000 parts'
  await db.transaction((tx) => forgetParts(tx, largeParts))
  await acquireWithSecret(core)
  const node = (await nodeStore.find(db.read, nodeId)) as Node
  const task = await taskStore.find(db.read, taskId)
  const run = {
    ...(await db.read.selectFrom('run').selectAll().where('run_id', '=', runId).executeTakeFirstOrThrow()),
    run_id: 8n,
  }
  const metadata = { ...unprompted.metadata, messageId: 'another' }
  const ids = [objectId, messageId]
  const listed = idList(ids)
  const owned = (owner: object) => ({ filter: { owners: { owner, colleaguesIn: 'o' }, limit: 5, skip: 1 } })
  const needsDatabase = { needsDatabase: true }
  return {
    ...{ nodeId, runId, taskId, messageId, objectId, now, ids, id: objectId, objectIds: ids, seriesId: 7n },
    ...{
      limit: 5,
      column: 'log_batch',
      batch: 1,
      finishedBefore: 1,
      butNewest: 0,
      cursor: 0,
      afterId: 0n,
      busy: [nodeId],
      makeRoom: undefined,
      name: 'apps',
      value: '1',
      bytes: 1,
    },
    ...{
      publicKey: 'node',
      identity: 'name',
      identityOrganization: 'o',
      ownerAid: 'me',
      federation: 'f',
      tokenHash: 'a',
    },
    ...{ types: ['flwr-clientapp'], type: 'flwr-clientapp', fabHash: 'hash', text: 'line', atMicros: 1, logBytes: 1 },
    ...{
      messageIds: listed,
      listed,
      nodes: [node],
      savedBefore: 1,
      dstNodeId: nodeId,
      srcNodeId: nodeId,
      node,
      run,
      task,
    },
    ...{
      messages: [{ metadata, error: undefined, tree: deflated.tree }],
      storing: () => ({ state: 'offered' }),
      bundleIds: ['b'],
      sent: [instruction.metadata],
    },
    ...{ metadata, state: 'offered', states: ['offered'], owners: 'all', savedAt: 0, launch: 1 },
    ...{ nodeIds: [nodeId], waiting: [{ nodeId, messageId, bytes: 1 }] },
    ...{ prepared: { context: await prepareValue(db, new Uint8Array(1)), sha256: '' }, upTo: 9, parts: fabValue.parts },
    ...{ content: new Uint8Array(1), event: { runId, taskId, at: 0, event: 'e', data: '' }, fab: fabValue },
    ...{
      traffic: { sent: 1, received: 1, clientappSeconds: 1 },
      series: { series_id: 9n, federation: 'f', context: fabValue },
    },
    ...{
      part: { nodeId, runId, objectId },
      config: create(SimulationConfigSchema),
      stored: { size: 1, type: 'Array', content: new Uint8Array(1) },
    },
    'db/large-values.ts:prepareValue': [{ ...needsDatabase, value: large }],
    'db/large-values.ts:forgetPendingValues': [needsDatabase],
    'db/large-values.ts:forgetParts': [{}, { parts: largeParts }],
    'db/large-values.ts:removeForgottenParts': [{ ...needsDatabase, signal: undefined }],
    'db/large-values.ts:findValue': [],
    'db/large-values.ts:digestValue': [],
    'db/large-values.ts:prepareCopy': [],
    'db/large-values.ts:openValue': [],
    'db/large-values.ts:appendPiece': [{ parts: '2 pieces', from: 0 }],
    'db/large-values.ts:readPiece': [{ from: 0, to: 1 }],
    'superlink/apps/fabs.ts:prepareFab': [{ ...needsDatabase, fab: large }],
    'superlink/runs/checkpoint-store.ts:prepare': [],
    'superlink/runs/checkpoint-store.ts:prepareCopyOf': [],
    'superlink/runs/checkpoint-store.ts:findBySha256': [{ sha256: sha256(large) }],
    'superlink/simulation/node-state-store.ts:prepare': [],
    'superlink/simulation/node-state-store.ts:put': [{ prepared: await prepareValue(db, new Uint8Array(1)) }],
    'superlink/events/event-store.ts:insert': [
      { owner: { aid: 'me', organization: '' }, eventId: 'e', at: now, type: 't', data: '{}' },
    ],
    'superlink/events/event-store.ts:list': [
      { after: 0, until: 9, scope: 'everything' },
      { after: 0, until: 9, scope: 'all' },
      { after: 0, until: 9, scope: { owner: { ownerAid: 'me', organization: undefined } } },
      { after: 0, until: 9, scope: { owner: { ownerAid: 'me', organization: 'o' }, colleaguesIn: 'o' } },
    ],
    'superlink/events/event-store.ts:forgetUpTo': [{ position: 1 }],
    'superlink/events/event-store.ts:lastBefore': [{ at: now }],
    'superlink/events/event-store.ts:timeBefore': [{ at: now }],
    'superlink/events/outbox-store.ts:insert': [{ position: 1, eventId: 'e', body: '{}', queuedAt: now }],
    'superlink/events/outbox-store.ts:findNext': [{ dueUntil: now }],
    'superlink/events/outbox-store.ts:remove': [{ position: 1 }],
    'superlink/events/outbox-store.ts:postpone': [{ position: 1, dueAt: now }],
    'superlink/events/outbox-store.ts:removeQueuedBefore': [{ at: now }],
    'superlink/events/outbox-store.ts:keepNewest': [{ kept: 5 }],
    'superlink/nodes/node-store.ts:listEnding': [{ at: now }],
    'superlink/nodes/node-store.ts:update': [{ change: { status: 'offline' } }],
    'superlink/nodes/node-store.ts:insert': [{ node: { ...node, nodeId: 5n, publicKey: 'other' } }],
    'superlink/nodes/node-store.ts:list': [{}, { ownerAid: undefined }],
    'superlink/runs/run-store.ts:list': [
      { filter: { owners: 'all' } },
      owned({ ownerAid: 'me', organization: undefined }),
      owned({ ownerAid: 'me', organization: 'o' }),
    ],
    'tasks/task-store.ts:update': [{ change: { status: 'running' } }],
    'tasks/task-store.ts:insert': [{ task: { ...task, taskId: 5n } }],
    'superlink/access/ownership.ts:ensureSentToApp': [{ messageIds: ids }],
    'tasks/task-store.ts:findOldestPending': [{}, { runId: undefined }],
    'superlink/delivery/message-store.ts:move': [
      { from: ['offered'], to: { state: 'fetched', deliveredAt: 1 } },
      { from: ['offered'], to: { state: 'taken' } },
    ],
    'superlink/simulation/settings-store.ts:find': [{ federation: '@none/default' }],
    'objects/message-parts.ts:addParts': [{ parts: [{ message_id: 'a', object_id: 'b' }] }],
    'objects/message-parts.ts:deleteParts': [{}, { parts: new Array(2000).fill({ message_id: 'a', object_id: 'b' }) }],
    'objects/object-rows.ts:storeCarried': [
      { came: [{ id: 'carried', size: 1, type: 'Array', content: new Uint8Array(1), bytes: new Uint8Array(1) }] },
    ],
  }
}

/** A SuperExec with a secret of the operator asks for a task: its nonce is stored. */
async function acquireWithSecret({ ctx }: SuperlinkCore): Promise<void> {
  const secret = new Uint8Array(32)
  const gate = new SuperexecGate({ isolation: 'process', secret, insecure: false }, ctx)
  const { timestamp, nonce, bodySha256, signature } = signSuperexecCall(secret, 'M', new Uint8Array(), ctx.clock.now())
  const headers: Record<string, string> = {
    ...{ 'flwr-superexec-ts': timestamp, 'flwr-superexec-nonce': nonce },
    ...{ 'flwr-superexec-body-sha256': bodySha256, 'flwr-superexec-signature': signature },
  }
  const call = { method: 'M', requestBytes: new Uint8Array(), header: (name: string) => [headers[name] ?? ''] }
  await gate.checkAt('127.0.0.1')(call as never)
}
