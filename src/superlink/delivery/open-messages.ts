import type { Db } from '../../db/database.ts'
import { inState, serverApp } from './message-rows.ts'
import { waiting } from './node-messages.ts'

/** How many messages there are, and when the oldest was created, in epoch milliseconds. */
export interface OpenMessages {
  readonly count: number
  readonly oldestAt: number | undefined
}

/**
 * Messages to nodes without a reply: those that wait for their node, and those that their node has. The index of their
 * expiry holds these rows alone.
 */
export async function count(db: Db): Promise<Readonly<Record<'waiting' | 'at-node', OpenMessages>>> {
  const rows = await db
    .selectFrom('message')
    .select(({ fn, case: when }) => [
      when().when('state', 'in', waiting).then('waiting').else('at-node').end().as('kind'),
      fn.countAll<number>().as('count'),
      fn.min('created_at').as('oldest'),
    ])
    .where('dst_node_id', '<>', serverApp)
    .where('state', '<>', inState('answered'))
    .groupBy('kind')
    .execute()
  const of = (kind: string): OpenMessages => {
    const row = rows.find((one) => one.kind === kind)
    return row ? { count: Number(row.count), oldestAt: row.oldest * 1000 } : { count: 0, oldestAt: undefined }
  }
  return { waiting: of('waiting'), 'at-node': of('at-node') }
}
