import type { KyselyPlugin, RootOperationNode } from 'kysely'
import type { Database, Db } from '../../src/db/database.ts'

/** Notes the queries of a SuperLink, and how many rows each one reads. */
export function observeQueries(db: Database) {
  const queries = new Map<object, RootOperationNode>()
  let rowsMost = 0
  const plugin: KyselyPlugin = {
    transformQuery({ node, queryId }) {
      queries.set(queryId, node)
      return node
    },
    async transformResult({ result }) {
      rowsMost = Math.max(rowsMost, result.rows.length)
      return result
    },
  }
  const observed: Database = {
    read: db.read.withPlugin(plugin),
    transaction: (body) => db.transaction((tx, afterCommit) => body(tx.withPlugin(plugin), afterCommit)),
    close: () => db.close(),
    [Symbol.asyncDispose]: () => db.close(),
  }
  return {
    observed,
    start(): void {
      queries.clear()
      rowsMost = 0
    },
    rowsMost: () => rowsMost,
    plans: () => Promise.all([...queries].map(([queryId, node]) => planOf(db.read, { queryId } as never, node))),
  }
}

async function planOf(db: Db, { queryId }: { queryId: never }, node: RootOperationNode) {
  const compiled = db.getExecutor().compileQuery(node, queryId)
  if (node.kind === 'InsertQueryNode') return { sql: compiled.sql, plan: '' }
  const { rows } = await db.executeQuery<{ detail: string }>({ ...compiled, sql: `EXPLAIN QUERY PLAN ${compiled.sql}` })
  return { sql: compiled.sql, plan: rows.map(({ detail }) => detail).join('; ') }
}
