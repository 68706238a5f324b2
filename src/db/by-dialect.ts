import { ExpressionWrapper, type OperationNode, PostgresQueryCompiler, type RawBuilder, type RawNode } from 'kysely'
import type { Tables } from './schema.ts'

/** An expression of SQL that each engine spells in its own way. */
export type DialectExpression<T> = ExpressionWrapper<Tables, never, T>

const spelledForPostgres = new WeakMap<OperationNode, OperationNode>()

/** Creates an expression of which each engine reads its own spelling. */
export function byDialect<T>(spellings: {
  readonly sqlite: RawBuilder<T>
  readonly postgres: RawBuilder<T>
}): DialectExpression<T> {
  const node = spellings.sqlite.toOperationNode()
  spelledForPostgres.set(node, spellings.postgres.toOperationNode())
  return new ExpressionWrapper(node)
}

/** Compiles queries for PostgreSQL. */
export class PostgresCompiler extends PostgresQueryCompiler {
  protected override visitRaw(node: RawNode): void {
    const forPostgres = spelledForPostgres.get(node)
    if (forPostgres) this.visitNode(forPostgres)
    else super.visitRaw(node)
  }
}
