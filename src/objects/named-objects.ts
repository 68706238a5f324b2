import type { Db } from '../db/database.ts'
import { inBatches } from '../db/id-list.ts'
import type { CarriedObjects } from './carried-objects.ts'
import { addParts } from './message-parts.ts'
import { announceObjects } from './object-rows.ts'
import type { NamedObjects } from './stored-objects.ts'

/** Messages name their objects. Returns those whose content is missing; what was carried is stored already. */
export async function announceNamed(
  tx: Db,
  messages: readonly NamedObjects[],
  carried: CarriedObjects,
): Promise<ReadonlySet<string>> {
  const others = new Set<string>()
  const parts: { message_id: string; object_id: string }[] = []
  for (const { messageId, objectIds } of messages.toSorted(byId)) {
    for (const objectId of objectIds.toSorted()) {
      parts.push({ message_id: messageId, object_id: objectId })
      if (!carried.has(objectId)) others.add(objectId)
    }
  }
  const missing = new Set<string>()
  // In the order of the keys: each page of the tables is changed once, however many objects there are.
  for (const ids of inBatches([...others].toSorted())) {
    for (const id of await announceObjects(tx, ids)) missing.add(id)
  }
  await addParts(tx, parts)
  return missing
}

const byId = (one: NamedObjects, other: NamedObjects): number => (one.messageId < other.messageId ? -1 : 1)
