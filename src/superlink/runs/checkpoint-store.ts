import { sha256InTurns } from '../../base/hash-in-turns.ts'
import type { RunId } from '../../base/ids.ts'
import type { MakeRoom } from '../../base/make-room.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Database, Db } from '../../db/database.ts'
import {
  findValue,
  forgetParts,
  keepValue,
  MissingPartError,
  type PreparedValue,
  prepareValue,
} from '../../db/large-values.ts'
import { notIndexed } from '../../db/planner.ts'

/** Queries of the `checkpoint` table, which no other file writes. */

/** As many are kept of each run: one that turns out to be damaged has a predecessor. */
const keptPerRun = 2

export interface Checkpoint {
  readonly position: number
  readonly savedAt: number
  readonly launch: number
}

/** A context whose parts are stored, for `insert`. */
export interface PreparedCheckpoint extends AsyncDisposable {
  readonly context: PreparedValue
  readonly sha256: string
}

export async function prepare(db: Database, context: Uint8Array): Promise<PreparedCheckpoint> {
  const sha256 = await sha256InTurns(context)
  const prepared = await prepareValue(db, context)
  return { context: prepared, sha256, [Symbol.asyncDispose]: () => prepared[Symbol.asyncDispose]() }
}

export async function insert(
  tx: Db,
  { runId, savedAt, launch, prepared }: { runId: RunId; savedAt: number; launch: number; prepared: PreparedCheckpoint },
): Promise<void> {
  const position = ((await findLast(tx, runId))?.position ?? 0) + 1
  const { content, parts } = await keepValue(tx, prepared.context)
  await tx
    .insertInto('checkpoint')
    .values(
      fitting('checkpoint', {
        run_id: runId,
        position,
        saved_at: savedAt,
        launch,
        sha256: prepared.sha256,
        context: content,
        parts,
      }),
    )
    .execute()
  await remove(tx, { runId, upTo: position - keptPerRun })
}

export async function findLast(db: Db, runId: RunId): Promise<Checkpoint | undefined> {
  const [last] = await list(db, runId)
  return last && { position: last.position, savedAt: last.saved_at, launch: last.launch }
}

/** The context of the last checkpoint that is not damaged. */
export async function findContext(db: Db, runId: RunId, makeRoom?: MakeRoom): Promise<Uint8Array | undefined> {
  for (const { position, sha256 } of await list(db, runId)) {
    const context = await read(db, runId, position, makeRoom)
    if (context && (await sha256InTurns(context)) === sha256) return context
  }
  return undefined
}

/** Removes the checkpoints of a run, or those up to a position. */
export async function remove(
  tx: Db,
  { runId, upTo = Number.MAX_SAFE_INTEGER }: { runId: RunId; upTo?: number },
): Promise<void> {
  const old = tx.selectFrom('checkpoint').select('parts').where('run_id', '=', runId).where('position', '<=', upTo)
  for (const { parts } of await old.execute()) await forgetParts(tx, parts)
  await tx.deleteFrom('checkpoint').where('run_id', '=', runId).where('position', '<=', upTo).execute()
}

/** Runs with checkpoints that were saved before this instant. */
export async function listRunsBefore(db: Db, savedBefore: number): Promise<RunId[]> {
  const rows = await db
    .selectFrom('checkpoint')
    .select(({ ref }) => notIndexed(ref('run_id')).as('run_id'))
    .where('saved_at', '<', savedBefore)
    .distinct()
    .execute()
  return rows.map((row) => row.run_id as RunId)
}

/** The latest first. */
function list(db: Db, runId: RunId) {
  return db
    .selectFrom('checkpoint')
    .select(['position', 'saved_at', 'launch', 'sha256'])
    .where('run_id', '=', runId)
    .orderBy('position', 'desc')
    .execute()
}

/** Returns `undefined` also for a checkpoint that is damaged: an earlier one may be good. */
async function read(db: Db, runId: RunId, position: number, makeRoom?: MakeRoom): Promise<Uint8Array | undefined> {
  const row = db
    .selectFrom('checkpoint')
    .select(['context as content', 'parts'])
    .where('run_id', '=', runId)
    .where('position', '=', position)
  try {
    return await findValue(db, () => row.executeTakeFirst(), makeRoom)
  } catch (error) {
    if (error instanceof MissingPartError) return undefined
    throw error
  }
}
