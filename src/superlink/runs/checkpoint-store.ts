import { sha256InTurns } from '../../base/hash-in-turns.ts'
import type { RunId } from '../../base/ids.ts'
import { fitting } from '../../db/column-limits.ts'
import type { Database, Db } from '../../db/database.ts'
import {
  digestValue,
  forgetParts,
  type KeptValue,
  keepValue,
  MissingPartError,
  type PreparedValue,
  prepareCopy,
  prepareValue,
  sizeOfParts,
} from '../../db/large-values.ts'
import { notIndexed } from '../../db/planner.ts'

/** Queries of the `checkpoint` table, which no other file writes. */

/** As many are kept of each run: one that turns out to be damaged has a predecessor. */
const keptPerRun = 2

export interface Checkpoint {
  readonly position: number
  readonly savedAt: number
  readonly launch: number
  readonly sha256: string
}

/** A checkpoint with its context, which may be too large for the memory. */
export interface StoredContext {
  readonly sha256: string
  readonly size: number
  readonly value: KeptValue
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

/**
 * Returns a copy of the last checkpoint of another run that is not damaged; `undefined` if there is none.
 *
 * @param takeRoom called with its size before it is copied. Its result is disposed of when the copy is stored.
 */
export async function prepareCopyOf(
  db: Database,
  runId: RunId,
  takeRoom: (bytes: number) => Promise<Disposable>,
): Promise<PreparedCheckpoint | undefined> {
  const stored = await findContext(db.read, runId)
  if (!stored) return undefined
  using _room = await takeRoom(stored.size)
  const prepared = await prepareCopy(db, stored.value)
  return { context: prepared, sha256: stored.sha256, [Symbol.asyncDispose]: () => prepared[Symbol.asyncDispose]() }
}

export async function insert(
  tx: Db,
  {
    runId,
    savedAt,
    launch,
    prepared,
  }: { runId: RunId; savedAt: number; launch: number; prepared: Omit<PreparedCheckpoint, typeof Symbol.asyncDispose> },
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
  return last && { position: last.position, savedAt: last.saved_at, launch: last.launch, sha256: last.sha256 }
}

/** The last checkpoint that is not damaged. */
export async function findContext(db: Db, runId: RunId): Promise<StoredContext | undefined> {
  for (const { position, sha256 } of await list(db, runId)) {
    if ((await digestOf(db, runId, position)) !== sha256) continue
    const value = await findKept(db, runId, position)
    if (value) return storedContext(sha256, value)
  }
  return undefined
}

/** The last checkpoint with this hash. It was verified when its hash was handed out. */
export async function findBySha256(db: Db, runId: RunId, sha256: string): Promise<StoredContext | undefined> {
  const match = (await list(db, runId)).find((one) => one.sha256 === sha256)
  const value = match && (await findKept(db, runId, match.position))
  return value && storedContext(sha256, value)
}

function storedContext(sha256: string, value: KeptValue): StoredContext {
  return { sha256, value, size: value.parts === null ? value.content.length : sizeOfParts(value.parts) }
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

/** Returns `undefined` also for a checkpoint that lacks a part: an earlier one may be good. */
async function digestOf(db: Db, runId: RunId, position: number): Promise<string | undefined> {
  try {
    return await digestValue(db, () => findKept(db, runId, position))
  } catch (error) {
    if (error instanceof MissingPartError) return undefined
    throw error
  }
}

function findKept(db: Db, runId: RunId, position: number): Promise<KeptValue | undefined> {
  return db
    .selectFrom('checkpoint')
    .select(['context as content', 'parts'])
    .where('run_id', '=', runId)
    .where('position', '=', position)
    .executeTakeFirst()
}
