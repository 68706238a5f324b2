import type { ColumnType, Generated, Insertable, Selectable } from 'kysely'

/**
 * The tables. 64-bit ids are stored signed (`row.ts` converts); instants are epoch milliseconds as REAL, except where a
 * double of the wire in seconds must come back bit by bit (`created_at`, `ttl` of a message). Booleans are 0 or 1.
 */
export interface Tables {
  node: NodeTable
  run: RunTable
  run_log: RunLogTable
  series: SeriesTable
  checkpoint: CheckpointTable
  fab: FabTable
  part: PartTable
  task: TaskTable
  task_event: TaskEventTable
  event: EventTable
  outbox: OutboxTable
  message: MessageTable
  message_object: MessageObjectTable
  participant: ParticipantTable
  object: ObjectTable
  push_session: PushSessionTable
  nonce: NonceTable
  setting: SettingTable
  simulation_settings: SimulationSettingsTable
  virtual_node: VirtualNodeTable
}

type Id = bigint
type Instant = number

export interface NodeTable {
  node_id: Id
  /** Raw PEM bytes as text, compared byte for byte; unique. Absent for nodes known by certificate only. */
  public_key: string | null
  /** Name of the certificate; a node's id belongs to it. */
  identity: string | null
  organization: string | null
  /** 'key' | 'certificate' */
  auth_method: string
  certificate_serial: string | null
  certificate_not_after: Instant | null
  owner_aid: string
  owner_name: string
  /** LATITUDE,LONGITUDE and name, as the operator registered it. */
  location: string | null
  name: string | null
  /** JSON: what the node says of itself, and what its certificate says. */
  tags: string | null
  /** 'registered' | 'online' | 'offline' | 'unregistered' */
  status: string
  /** 'open' | 'draining' | 'blocked' */
  admission: string
  registered_at: Instant
  last_activated_at: Instant | null
  last_deactivated_at: Instant | null
  unregistered_at: Instant | null
  online_until: Instant | null
  heartbeat_interval_ms: number
}

export interface RunTable {
  run_id: Id
  series_id: Id
  primary_task_id: Id
  fab_id: string
  fab_version: string
  fab_hash: string
  /** Protobuf `StartRunRequest` with only `override_config` set, and `StoredAppConfig` behind it. */
  override_config: Uint8Array
  federation: string
  owner_aid: string
  owner_name: string
  owner_organization: string
  bytes_sent: number
  bytes_recv: number
  clientapp_runtime: number
  log_bytes: number
  /** Protobuf `SimulationConfig`, complete; null when SuperNodes work for the run. */
  simulation: Uint8Array | null
}

export interface RunLogTable {
  id: Generated<number>
  run_id: Id
  /** Epoch microseconds, strictly increasing within a run: the cursor of StreamLogs. */
  logged_at_us: number
  text: string
}

export interface SeriesTable {
  series_id: Id
  federation: string
  /** Protobuf `Context` of the last run; empty if it is kept in parts. */
  context: Uint8Array
  parts: string | null
}

/** What the ServerApp of a run goes on from; the last two of each run. */
export interface CheckpointTable {
  run_id: Id
  /** Counts up within a run. */
  position: number
  saved_at: Instant
  /** Which launch of the ServerApp has saved it. */
  launch: number
  /** Of the context. */
  sha256: string
  /** Protobuf `Context`; empty if it is kept in parts. */
  context: Uint8Array
  parts: string | null
}

export interface FabTable {
  fab_hash: string
  /** Empty if it is kept in parts. */
  content: Uint8Array
  parts: string | null
}

/** A piece of a large value; see `large-values.ts`. */
export interface PartTable {
  name: string
  position: number
  content: Uint8Array
}

export interface TaskTable {
  task_id: Id
  run_id: Id
  /** 'flwr-serverapp' | 'flwr-clientapp' */
  type: string
  fab_hash: string
  /** 'pending' | 'starting' | 'running' | 'finished' */
  status: string
  /** '' | 'completed' | 'failed' | 'stopped' */
  sub_status: string
  details: string
  pending_at: Instant
  starting_at: Instant | null
  running_at: Instant | null
  finished_at: Instant | null
  /** SHA-256 of the token, hex: the token itself is never stored. */
  token_hash: string | null
  lease_until: Instant | null
  launches: number
  /** SuperNode: the instruction to which this task replies. */
  message_id: string | null
  /** Of this launch, the last requests with lines of the log and with events. */
  log_batch: Generated<number>
  event_batch: Generated<number>
}

export interface TaskEventTable {
  id: Generated<number>
  run_id: Id
  task_id: Id
  at: Instant
  event: string
  data: string
}

/** What happened in the federation. */
export interface EventTable {
  position: Generated<number>
  /** UUID */
  event_id: string
  at: Instant
  type: string
  /** The account of the run that the event is about; null if it is about no run. */
  owner_aid: string | null
  owner_organization: string | null
  /** JSON */
  data: string
}

/** Events that the receiver of the webhook has not accepted yet. */
export interface OutboxTable {
  /** Of the event. */
  position: number
  event_id: string
  /** JSON, as it is sent. */
  body: string
  attempts: number
  queued_at: Instant
  /** When the next attempt may be made. */
  due_at: Instant
}

export interface MessageTable {
  message_id: string
  /** 'announced' | 'offered' | 'fetched' | 'held' | 'answered' | 'taken' */
  state: string
  run_id: Id
  src_node_id: Id
  dst_node_id: Id
  /** Empty for messages that reply to nothing. */
  reply_to: string
  group_id: string
  message_type: string
  /** Epoch seconds, the very double of the wire. */
  created_at: number
  ttl: number
  src_task_id: Id | null
  dst_task_id: Id | null
  error_code: number | null
  error_reason: string | null
  /** Protobuf `ObjectTree`. */
  object_tree: Uint8Array
  /** The objects of a small message that came with it, as `joinObjects` joins them, without those of its bundle. */
  objects: Uint8Array | null
  /** How many objects the message is made of, if they are in its row; otherwise 0. */
  object_count: Generated<number>
  /** The name under which `message_object` has what this message shares with others, if it has own objects in its row. */
  bundle_id: string | null
  /** When a node received it for the last time. */
  delivered_at: Instant | null
  /** Order of arrival. */
  position: Generated<number>
}

/** Nodes that a run has asked for something. */
export interface ParticipantTable {
  run_id: Id
  node_id: Id
  /** What its messages hold that reply to nothing. */
  unprompted_bytes: Generated<number>
}

/** Which objects a message is made of: an object lives as long as one row names it. */
export interface MessageObjectTable {
  message_id: string
  object_id: string
}

export interface ObjectTable {
  object_id: string
  /** 0 while announced, 1 when the content is here. */
  available: number
  size: number
  /** 'Message' | 'RecordDict' | … | 'ArrayChunk'; null while announced, and for objects of earlier releases. */
  type: string | null
  /** Small content; bigger content is a file. */
  content: Uint8Array | null
}

export interface PushSessionTable {
  session_id: string
  run_id: Id
  expires_at: Instant
}

export interface NonceTable {
  namespace: string
  nonce: string
  expires_at: Instant
}

/** What a server remembers for its next start. */
export interface SettingTable {
  /** 'apps-port' | 'apps' */
  name: string
  value: string
}

export interface SimulationSettingsTable {
  federation: string
  /** Protobuf `SimulationConfig`. */
  settings: Uint8Array
}

export interface VirtualNodeTable {
  run_id: Id
  node_id: Id
  /** Protobuf `RecordDict`: what its ClientApp keeps; empty if it is kept in parts. */
  state: Uint8Array
  parts: string | null
}

export type Row<T extends keyof Tables> = Selectable<Tables[T]>
export type NewRow<T extends keyof Tables> = Insertable<Tables[T]>
export type { ColumnType }
