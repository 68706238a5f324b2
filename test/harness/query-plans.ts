import { StatementSync } from 'node:sqlite'
import type { Database, Db } from '../../src/db/database.ts'

/** Statements of this process, whichever connection executes them: how often, and the most rows that each returned. */
const executed = new Map<string, { times: number; rowsMost: number }>()

const { all, run } = StatementSync.prototype
StatementSync.prototype.all = function (this: StatementSync, ...values: unknown[]) {
  const rows = all.apply(this, values as never)
  note(this.sourceSQL, rows.length)
  return rows
}
StatementSync.prototype.run = function (this: StatementSync, ...values: unknown[]) {
  note(this.sourceSQL, 0)
  return run.apply(this, values as never)
}

function note(sql: string, rows: number): void {
  const { times = 0, rowsMost = 0 } = executed.get(sql) ?? {}
  executed.set(sql, { times: times + 1, rowsMost: Math.max(rowsMost, rows) })
}

/** Notes the statements that this process executes, and how many rows each one reads. */
export function observeQueries(db: Database) {
  executed.clear()
  return {
    start: (): void => executed.clear(),
    rowsMost: (): number => Math.max(...[...executed.values()].map(({ rowsMost }) => rowsMost)),
    /** How often each statement was executed. */
    counts: (): ReadonlyMap<string, number> => new Map([...executed].map(([sql, { times }]) => [sql, times])),
    plans: (): Promise<QueryPlan[]> => Promise.all([...executed.keys()].map((sql) => planOf(db.read, sql))),
  }
}

export interface QueryPlan {
  readonly sql: string
  readonly plan: string
}

/** A list comes as JSON, the only virtual table, and is read from its beginning to its end. */
const listScan = /SCAN \w+ VIRTUAL TABLE INDEX \d+:/g

async function planOf(db: Db, sql: string): Promise<QueryPlan> {
  const { rows } = await db.executeQuery<{ detail: string }>({
    ...db.selectFrom('node').compile(),
    ...{ sql: `EXPLAIN QUERY PLAN ${sql}`, parameters: [] },
  })
  return { sql, plan: rows.map(({ detail }) => detail.replace(listScan, 'LIST')).join('; ') }
}
