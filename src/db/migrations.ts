/**
 * Forward only, one list entry a version: entry n brings the database from version n to n + 1. A released entry never
 * changes again.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE node (
    node_id INTEGER PRIMARY KEY, public_key TEXT, identity TEXT, organization TEXT, auth_method TEXT NOT NULL,
    certificate_serial TEXT, certificate_not_after REAL, owner_aid TEXT NOT NULL, owner_name TEXT NOT NULL,
    status TEXT NOT NULL, registered_at REAL NOT NULL, last_activated_at REAL, last_deactivated_at REAL,
    unregistered_at REAL, online_until REAL, heartbeat_interval_ms REAL NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX node_public_key ON node (public_key) WHERE public_key IS NOT NULL AND identity IS NULL;
  CREATE INDEX node_identity ON node (identity) WHERE identity IS NOT NULL;
  CREATE INDEX node_online ON node (online_until) WHERE status = 'online';

  CREATE TABLE series (series_id INTEGER PRIMARY KEY, federation TEXT NOT NULL, context BLOB NOT NULL) STRICT;
  CREATE TABLE fab (fab_hash TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT;
  CREATE TABLE run (
    run_id INTEGER PRIMARY KEY, series_id INTEGER NOT NULL, primary_task_id INTEGER NOT NULL, fab_id TEXT NOT NULL,
    fab_version TEXT NOT NULL, fab_hash TEXT NOT NULL, override_config BLOB NOT NULL, federation TEXT NOT NULL,
    owner_aid TEXT NOT NULL, owner_name TEXT NOT NULL, owner_organization TEXT NOT NULL, bytes_sent INTEGER NOT NULL DEFAULT 0,
    bytes_recv INTEGER NOT NULL DEFAULT 0, clientapp_runtime REAL NOT NULL DEFAULT 0, log_bytes INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX run_owner ON run (owner_aid);
  CREATE TABLE run_log (
    id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, logged_at_us INTEGER NOT NULL, text TEXT NOT NULL
  ) STRICT;
  CREATE INDEX run_log_cursor ON run_log (run_id, logged_at_us);

  CREATE TABLE task (
    task_id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, type TEXT NOT NULL, fab_hash TEXT NOT NULL, status TEXT NOT NULL,
    sub_status TEXT NOT NULL, details TEXT NOT NULL, pending_at REAL NOT NULL, starting_at REAL, running_at REAL,
    finished_at REAL, token_hash TEXT UNIQUE, lease_until REAL, launches INTEGER NOT NULL, message_id TEXT
  ) STRICT;
  CREATE INDEX task_run ON task (run_id);
  CREATE INDEX task_open ON task (status, pending_at) WHERE status != 'finished';
  CREATE TABLE task_event (
    id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, task_id INTEGER NOT NULL, at REAL NOT NULL, event TEXT NOT NULL,
    data TEXT NOT NULL
  ) STRICT;
  CREATE INDEX task_event_run ON task_event (run_id, id);

  CREATE TABLE message (
    position INTEGER PRIMARY KEY, message_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, run_id INTEGER NOT NULL,
    src_node_id INTEGER NOT NULL, dst_node_id INTEGER NOT NULL, reply_to TEXT NOT NULL, group_id TEXT NOT NULL,
    message_type TEXT NOT NULL, created_at REAL NOT NULL, ttl REAL NOT NULL, src_task_id INTEGER, dst_task_id INTEGER,
    error_code INTEGER, error_reason TEXT, object_tree BLOB NOT NULL, delivered_at REAL
  ) STRICT;
  CREATE INDEX message_pending ON message (dst_node_id, position) WHERE kind = 'instruction' AND delivered_at IS NULL;
  CREATE INDEX message_reply ON message (reply_to) WHERE kind = 'reply';
  CREATE INDEX message_run ON message (run_id);

  CREATE TABLE object (
    object_id TEXT PRIMARY KEY, available INTEGER NOT NULL, size INTEGER NOT NULL, content BLOB
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE message_object (
    message_id TEXT NOT NULL, object_id TEXT NOT NULL, PRIMARY KEY (message_id, object_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX message_object_by_object ON message_object (object_id);
  CREATE TABLE push_session (session_id TEXT PRIMARY KEY, run_id INTEGER NOT NULL, expires_at REAL NOT NULL) STRICT;
  CREATE TABLE nonce (
    namespace TEXT NOT NULL, nonce TEXT NOT NULL, expires_at REAL NOT NULL, PRIMARY KEY (namespace, nonce)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE run ADD COLUMN simulation BLOB;
  CREATE TABLE simulation_settings (federation TEXT PRIMARY KEY, settings BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE virtual_node (
    run_id INTEGER NOT NULL, node_id INTEGER NOT NULL, state BLOB NOT NULL, PRIMARY KEY (run_id, node_id)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  ALTER TABLE node ADD COLUMN location TEXT;
  ALTER TABLE node ADD COLUMN name TEXT;
  `,
  `
  CREATE INDEX message_receiver ON message (dst_node_id, run_id);
  CREATE INDEX message_sender ON message (src_node_id, run_id);
  `,
  `
  CREATE INDEX nonce_expiry ON nonce (expires_at);
  `,
  `
  ALTER TABLE object ADD COLUMN type TEXT;
  CREATE INDEX object_missing ON object (object_id) WHERE available = 0;
  `,
  `
  ALTER TABLE node ADD COLUMN admission TEXT NOT NULL DEFAULT 'open';
  `,
  `
  DROP INDEX node_identity;
  CREATE INDEX node_identity ON node (identity, public_key) WHERE identity IS NOT NULL;
  CREATE INDEX node_blocked ON node (identity) WHERE admission = 'blocked';
  CREATE INDEX message_expiry ON message (created_at + ttl) WHERE kind = 'instruction';
  `,
  `
  ALTER TABLE message ADD COLUMN state TEXT NOT NULL DEFAULT 'offered';
  UPDATE message SET state = 'announced' WHERE EXISTS (
    SELECT 1 FROM message_object JOIN object ON object.object_id = message_object.object_id
    WHERE message_object.message_id = message.message_id AND object.available = 0);
  UPDATE message SET state = 'fetched' WHERE kind = 'instruction' AND delivered_at IS NOT NULL;
  UPDATE message SET state = 'held' WHERE state = 'fetched' AND NOT EXISTS (
    SELECT 1 FROM message_object WHERE message_object.message_id = message.message_id);
  UPDATE message SET state = 'answered' WHERE kind = 'instruction' AND EXISTS (
    SELECT 1 FROM message AS reply
    WHERE reply.reply_to = message.message_id AND reply.kind = 'reply' AND reply.state = 'offered');
  CREATE TABLE participant (
    run_id INTEGER NOT NULL, node_id INTEGER NOT NULL, PRIMARY KEY (run_id, node_id)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO participant SELECT DISTINCT run_id, dst_node_id FROM message WHERE kind = 'instruction';
  DROP INDEX message_pending;
  DROP INDEX message_reply;
  DROP INDEX message_expiry;
  ALTER TABLE message DROP COLUMN kind;
  CREATE INDEX message_waiting ON message (dst_node_id, position) WHERE state IN ('announced', 'offered');
  CREATE INDEX message_announced ON message (src_node_id) WHERE state = 'announced';
  CREATE INDEX message_reply ON message (reply_to) WHERE reply_to <> '';
  CREATE INDEX message_expiry ON message (created_at + ttl) WHERE dst_node_id <> 1 AND state <> 'answered';
  `,
  `
  ALTER TABLE fab ADD COLUMN parts TEXT;
  ALTER TABLE series ADD COLUMN parts TEXT;
  ALTER TABLE virtual_node ADD COLUMN parts TEXT;
  CREATE TABLE part (name TEXT NOT NULL, position INTEGER NOT NULL, content BLOB NOT NULL) STRICT;
  CREATE UNIQUE INDEX part_name ON part (name, position);
  `,
  `
  ALTER TABLE participant ADD COLUMN unprompted_bytes INTEGER NOT NULL DEFAULT 0;
  `,
  `
  CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE checkpoint (
    run_id INTEGER NOT NULL, position INTEGER NOT NULL, saved_at REAL NOT NULL, launch INTEGER NOT NULL,
    sha256 TEXT NOT NULL, context BLOB NOT NULL, parts TEXT, PRIMARY KEY (run_id, position)
  ) STRICT;
  CREATE INDEX checkpoint_age ON checkpoint (saved_at);
  `,
  `
  CREATE INDEX run_organization ON run (owner_organization);
  `,
  `
  ALTER TABLE node ADD COLUMN tags TEXT;
  `,
  `
  CREATE INDEX task_finished ON task (finished_at) WHERE status = 'finished' AND type = 'flwr-serverapp';
  CREATE INDEX run_fab ON run (fab_hash);
  `,
  `
  CREATE TABLE event (
    position INTEGER PRIMARY KEY, event_id TEXT NOT NULL, at REAL NOT NULL, type TEXT NOT NULL, owner_aid TEXT,
    owner_organization TEXT, data TEXT NOT NULL
  ) STRICT;
  CREATE INDEX event_age ON event (at);
  CREATE TABLE outbox (
    position INTEGER PRIMARY KEY, event_id TEXT NOT NULL, body TEXT NOT NULL, attempts INTEGER NOT NULL,
    queued_at REAL NOT NULL, due_at REAL NOT NULL
  ) STRICT;
  CREATE INDEX outbox_due ON outbox (due_at, position);
  CREATE INDEX outbox_age ON outbox (queued_at);
  CREATE INDEX node_certificate_end ON node (certificate_not_after) WHERE certificate_not_after IS NOT NULL;
  `,
  `
  ALTER TABLE task ADD COLUMN log_batch INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE task ADD COLUMN event_batch INTEGER NOT NULL DEFAULT 0;
  `,
  `
  ALTER TABLE message ADD COLUMN objects BLOB;
  ALTER TABLE message ADD COLUMN object_count INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE message ADD COLUMN bundle_id TEXT;
  CREATE INDEX message_bundle ON message (bundle_id) WHERE bundle_id IS NOT NULL;
  `,
]
