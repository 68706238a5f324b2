import { sql } from 'kysely'
import type { RunId } from '../../base/ids.ts'
import { limits } from '../../base/limits.ts'
import type { Db } from '../../db/database.ts'
import { type IdList, idList, idsOf, inBatches } from '../../db/id-list.ts'
import { notIndexed } from '../../db/planner.ts'
import { statement } from '../../db/statement.ts'
import { inState, type MessageRow, messageColumns, toMessages } from './message-rows.ts'
import type { StoredMessage } from './message-store.ts'

const selectFrom = (db: Db, ids: IdList, runId: bigint) =>
  db
    .selectFrom('message')
    .where('reply_to', 'in', idsOf(ids))
    .where('reply_to', '<>', sql.lit(''))
    .where('state', '=', inState('offered'))
    .where(({ eb, ref }) => eb(notIndexed(ref('run_id')), '=', runId))
    .orderBy('position')

interface Size {
  readonly reply_to: string
  readonly bytes: number
}

const selectSizes = statement<{ ids: IdList; runId: bigint }, Size>((db, value) =>
  selectFrom(db, value('ids'), value('runId')).select(['reply_to', sql<number>`length(object_tree)`.as('bytes')]),
)

const selectReplies = statement<{ ids: IdList; runId: bigint }, MessageRow>((db, value) =>
  selectFrom(db, value('ids'), value('runId')).select(messageColumns),
)

export interface OfferedReplies {
  readonly replies: readonly StoredMessage[]
  /** There are more, which do not fit into the same response. */
  readonly hasMore: boolean
}

/**
 * The replies of a run to these messages that are whole: as many as fit into one response. The trees of all of them could be
 * gigabytes, so their sizes are read first.
 */
export async function listOfferedRepliesTo(db: Db, runId: RunId, ids: readonly string[]): Promise<OfferedReplies> {
  const replies: StoredMessage[] = []
  let room: number = limits.repliesPerPullBytesMax
  for (const some of inBatches(ids)) {
    const sizes = (await selectSizes(db, { ids: some, runId })).rows
    const fitting = sizes.filter(({ bytes }, index) => {
      const isFirst = index === 0 && replies.length === 0
      room -= bytes
      return isFirst || room >= 0
    })
    if (fitting.length > 0) {
      const chosen = idList(fitting.map(({ reply_to }) => reply_to))
      replies.push(...(await toMessages((await selectReplies(db, { ids: chosen, runId })).rows)))
    }
    if (fitting.length < sizes.length) return { replies, hasMore: true }
  }
  return { replies, hasMore: false }
}
