import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { NewRow, Tables } from './schema.ts'
import { Placeholder } from './statement.ts'

/**
 * The limit of every column that holds text or bytes, by its name in `limits`. What comes in from peers is checked, or
 * shortened, where it comes in; `fitting` makes sure of it in front of the database.
 */

type TextColumn<Row> = {
  [Column in keyof Row & string]: Extract<Row[Column], string | Uint8Array> extends never ? never : Column
}[keyof Row & string]

type LimitName = {
  [Name in keyof typeof limits]: (typeof limits)[Name] extends number ? Name : never
}[keyof typeof limits]

export const columnLimits = {
  node: {
    public_key: 'publicKeyBytesMax',
    identity: 'identityBytesMax',
    organization: 'identityBytesMax',
    auth_method: 'wordBytesMax',
    certificate_serial: 'wordBytesMax',
    owner_aid: 'identityBytesMax',
    owner_name: 'identityBytesMax',
    location: 'wordBytesMax',
    name: 'nodeNameBytesMax',
    tags: 'nodeTagsBytesMax',
    status: 'wordBytesMax',
    admission: 'wordBytesMax',
  },
  run: {
    fab_id: 'fabNamesBytesMax',
    fab_version: 'fabNamesBytesMax',
    fab_hash: 'hashBytesMax',
    override_config: 'runConfigBytesMax',
    federation: 'nodeNameBytesMax',
    owner_aid: 'identityBytesMax',
    owner_name: 'identityBytesMax',
    owner_organization: 'identityBytesMax',
    simulation: 'simulationSettingsBytesMax',
  },
  run_log: { text: 'runLogPartBytesMax' },
  series: { federation: 'nodeNameBytesMax', context: 'messageBytesMax', parts: 'wordBytesMax' },
  checkpoint: { sha256: 'hashBytesMax', context: 'messageBytesMax', parts: 'wordBytesMax' },
  fab: { fab_hash: 'hashBytesMax', content: 'fabBytesMax', parts: 'wordBytesMax' },
  part: { name: 'wordBytesMax', content: 'messageBytesMax' },
  task: {
    type: 'wordBytesMax',
    fab_hash: 'hashBytesMax',
    status: 'wordBytesMax',
    sub_status: 'wordBytesMax',
    details: 'reasonBytesMax',
    token_hash: 'hashBytesMax',
    message_id: 'hashBytesMax',
  },
  task_event: { event: 'eventNameBytesMax', data: 'eventBytesMax' },
  event: {
    event_id: 'wordBytesMax',
    type: 'wordBytesMax',
    owner_aid: 'identityBytesMax',
    owner_organization: 'identityBytesMax',
    data: 'eventRecordBytesMax',
  },
  outbox: { event_id: 'wordBytesMax', body: 'eventRecordBytesMax' },
  message: {
    message_id: 'hashBytesMax',
    state: 'wordBytesMax',
    reply_to: 'hashBytesMax',
    group_id: 'groupIdBytesMax',
    message_type: 'messageTypeBytesMax',
    error_reason: 'reasonBytesMax',
    object_tree: 'objectTreeBytesMax',
    objects: 'joinedObjectsBytesMax',
    bundle_id: 'hashBytesMax',
  },
  participant: {},
  message_object: { message_id: 'hashBytesMax', object_id: 'hashBytesMax' },
  object: { object_id: 'hashBytesMax', content: 'carriedBytesMax', type: 'wordBytesMax' },
  push_session: { session_id: 'hashBytesMax' },
  nonce: { namespace: 'nonceBytesMax', nonce: 'nonceBytesMax' },
  setting: { name: 'wordBytesMax', value: 'wordBytesMax' },
  simulation_settings: { federation: 'nodeNameBytesMax', settings: 'simulationSettingsBytesMax' },
  virtual_node: { state: 'messageBytesMax', parts: 'wordBytesMax' },
} as const satisfies { readonly [T in keyof Tables]: Readonly<Record<TextColumn<Tables[T]>, LimitName>> }

/**
 * Returns the row, or the changes of one. Throws `invalid-request` if a value is longer than its column may hold; the values
 * of a compiled statement are checked at each execution.
 */
export function fitting<T extends keyof Tables, Row extends Partial<NewRow<T>>>(table: T, row: Row): Row {
  const names: Readonly<Record<string, LimitName>> = columnLimits[table]
  let fitted = row
  for (const [column, name] of Object.entries(names)) {
    const value = (row as Readonly<Record<string, unknown>>)[column]
    const check = (given: unknown): void => ensureFits(given, limits[name], table, column)
    if (value instanceof Placeholder) fitted = { ...fitted, [column]: value.checked(check) }
    else check(value)
  }
  return fitted
}

function ensureFits(value: unknown, bytesMax: number, table: string, column: string): void {
  const bytes = typeof value === 'string' ? Buffer.byteLength(value) : value instanceof Uint8Array ? value.length : 0
  if (bytes <= bytesMax) return
  throw new DomainError(
    'invalid-request',
    `A value has ${bytes} bytes, more than the ${bytesMax} of ${table}.${column}.`,
  )
}
