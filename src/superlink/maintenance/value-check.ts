import { sql } from 'kysely'
import { byDialect } from '../../db/by-dialect.ts'
import type { Db } from '../../db/database.ts'
import { digestValue, type KeptValue, MissingPartError } from '../../db/large-values.ts'

interface DigestedValue {
  readonly what: string
  readonly digest: string
  find(): Promise<KeptValue | undefined>
}

/** Verifies the apps and the checkpoints of runs by their hashes, and yields a sentence for each that is damaged. */
export async function* checkValues(db: Db): AsyncGenerator<string> {
  // Earlier releases have neither checkpoints nor large values in parts.
  const found = byDialect({
    sqlite: sql<number>`(SELECT 1 FROM sqlite_master WHERE name = 'checkpoint')`,
    postgres: sql<number>`(SELECT 1 WHERE to_regclass('checkpoint') IS NOT NULL)`,
  })
  const { hasTable } = await db.selectNoFrom(found.as('hasTable')).executeTakeFirstOrThrow()
  if (hasTable === null) return
  for (const { what, digest, find } of [...(await listFabs(db)), ...(await listCheckpoints(db))]) {
    if (await isDamaged(db, digest, find)) yield `${what} is damaged.`
  }
}

async function isDamaged(db: Db, digest: string, find: DigestedValue['find']): Promise<boolean> {
  try {
    const found = await digestValue(db, find)
    return found !== undefined && found !== digest
  } catch (error) {
    if (error instanceof MissingPartError) return true
    throw error
  }
}

async function listFabs(db: Db): Promise<DigestedValue[]> {
  const rows = await db.selectFrom('fab').select('fab_hash').execute()
  return rows.map(({ fab_hash: digest }) => ({
    what: `The app with the hash ${digest}`,
    digest,
    find: () => db.selectFrom('fab').select(['content', 'parts']).where('fab_hash', '=', digest).executeTakeFirst(),
  }))
}

async function listCheckpoints(db: Db): Promise<DigestedValue[]> {
  const rows = await db.selectFrom('checkpoint').select(['run_id', 'position', 'sha256']).execute()
  return rows.map(({ run_id: runId, position, sha256: digest }) => ({
    what: `Checkpoint ${position} of run ${runId}`,
    digest,
    find: () =>
      db
        .selectFrom('checkpoint')
        .select(['context as content', 'parts'])
        .where('run_id', '=', runId)
        .where('position', '=', position)
        .executeTakeFirst(),
  }))
}
