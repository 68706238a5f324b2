import { sql } from 'kysely'
import type { Db } from '../../db/database.ts'
import { type IdList, idsOf, inBatches } from '../../db/id-list.ts'
import { statement } from '../../db/statement.ts'
import { type MessageRow, messageColumns, toMessage } from './message-rows.ts'
import type { StoredMessage } from './message-store.ts'

/** The replies to messages, announced or whole. There is one at most for each. */

const selectReply = statement<{ messageId: string }, MessageRow>((db, value) =>
  db
    .selectFrom('message')
    .select(messageColumns)
    .where('reply_to', '=', value('messageId'))
    .where('reply_to', '<>', sql.lit(''))
    .orderBy('position'),
)

/** The reply to a message, announced or whole. There is one at most. */
export async function findReplyTo(db: Db, messageId: string): Promise<StoredMessage | undefined> {
  const [row] = (await selectReply(db, { messageId })).rows
  return row && toMessage(row)
}

const selectReplyIds = statement<{ ids: IdList }, { reply_to: string; message_id: string }>((db, value) =>
  db
    .selectFrom('message')
    .select(['reply_to', 'message_id'])
    .where('reply_to', 'in', idsOf(value('ids')))
    .where('reply_to', '<>', sql.lit(''))
    .orderBy('position'),
)

/** The ids of the replies to these messages, by the message. */
export async function listReplyIds(db: Db, ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  for (const some of inBatches(ids))
    for (const row of (await selectReplyIds(db, { ids: some })).rows)
      if (!found.has(row.reply_to)) found.set(row.reply_to, row.message_id)
  return found
}
