import type { Compilable, CompiledQuery, QueryResult } from 'kysely'
import type { Db } from './database.ts'

/**
 * Queries that are asked often are built and compiled once: to build one takes Kysely longer than its execution takes SQLite.
 * Their values come with each execution.
 */
export type Statement<Values, Row> = (db: Db, values: Values) => Promise<QueryResult<Row>>

/** Creates a statement. `build` gets `value`, which returns a placeholder in place of the value with that name. */
export function statement<Values extends object, Row>(
  build: (db: Db, value: <Name extends keyof Values & string>(name: Name) => Values[Name]) => Compilable<Row>,
): Statement<Values, Row> {
  const placeholder = (name: string): never => new Placeholder(name) as never
  // Each connection may speak another dialect.
  const compiled = new WeakMap<object, CompiledQuery<Row>>()
  return (db, values) => {
    const { adapter } = db.getExecutor()
    let query = compiled.get(adapter)
    if (!query) {
      query = build(db, placeholder).compile()
      compiled.set(adapter, query)
    }
    const parameters = query.parameters.map((parameter) =>
      parameter instanceof Placeholder ? parameter.fill(values as Readonly<Record<string, unknown>>) : parameter,
    )
    return db.executeQuery({ ...query, parameters })
  }
}

type Check = (value: unknown) => void

/** Stands for a value that each execution gives. */
export class Placeholder {
  readonly #name: string
  readonly #check: Check | undefined

  constructor(name: string, check?: Check) {
    this.#name = name
    this.#check = check
  }

  /** Returns the same placeholder, whose values must pass the check. */
  checked(check: Check): Placeholder {
    return new Placeholder(this.#name, check)
  }

  fill(values: Readonly<Record<string, unknown>>): unknown {
    const value = values[this.#name]
    this.#check?.(value)
    return value
  }
}
