import type { NodeId } from '../../base/ids.ts'
import { noTags, type TagsBySource } from '../../base/node-tags.ts'
import type { Row } from '../../db/schema.ts'
import type { Admission, Node, NodeStatus } from './node.ts'

/** Rows of the `node` table as nodes. */

export function tagsText(tags: TagsBySource): string {
  return JSON.stringify(tags)
}

export function toNode(row: Row<'node'>): Node {
  return {
    nodeId: row.node_id as NodeId,
    publicKey: row.public_key ?? undefined,
    identity: row.identity ?? undefined,
    organization: row.organization ?? undefined,
    authMethod: row.auth_method as Node['authMethod'],
    certificateSerial: row.certificate_serial ?? undefined,
    certificateNotAfter: row.certificate_not_after ?? undefined,
    ownerAid: row.owner_aid,
    ownerName: row.owner_name,
    location: row.location ?? undefined,
    name: row.name ?? undefined,
    tags: row.tags ? (JSON.parse(row.tags) as TagsBySource) : noTags,
    status: row.status as NodeStatus,
    admission: row.admission as Admission,
    registeredAt: row.registered_at,
    lastActivatedAt: row.last_activated_at ?? undefined,
    lastDeactivatedAt: row.last_deactivated_at ?? undefined,
    unregisteredAt: row.unregistered_at ?? undefined,
    onlineUntil: row.online_until ?? undefined,
    heartbeatIntervalMs: row.heartbeat_interval_ms,
  }
}
