import { type RawBuilder, sql } from 'kysely'
import { byDialect, type DialectExpression } from './by-dialect.ts'
import { toStored } from './row.ts'

/** Ids in one statement. Lists of up to so many keep a statement short, so that other work goes on between statements. */
const idsPerStatement = 500

/** A list of ids as one value of a statement, so that lists of any length share one statement. */
export type IdList = string & { readonly idList: unique symbol }

/** Cuts ids into lists for one statement each. */
export function* inBatches(ids: readonly string[]): Generator<IdList> {
  for (let start = 0; start < ids.length; start += idsPerStatement)
    yield JSON.stringify(ids.slice(start, start + idsPerStatement)) as IdList
}

export function idList(ids: readonly string[]): IdList {
  return JSON.stringify(ids) as IdList
}

/** Ids with 64 bits as one value, for `numbersOf`: the database reads them as such from JSON. */
export function numberList(ids: readonly bigint[]): IdList {
  return `[${ids.map(toStored).join()}]` as IdList
}

/** The ids of a `numberList` as the operand of `in`. */
export function numbersOf<Id extends bigint>(list: IdList): DialectExpression<Id> {
  return byDialect({
    sqlite: sql<Id>`(SELECT value FROM json_each(${list}))`,
    postgres: sql<Id>`(SELECT json_array_elements_text(${list}::json)::bigint)`,
  })
}

/** The ids of a `numberList` as a table with the column `value`. */
export function numberTable(list: IdList): DialectExpression<{ value: bigint }> {
  return byDialect({
    sqlite: sql<{ value: bigint }>`json_each(${list})`,
    postgres: sql<{ value: bigint }>`(SELECT value::bigint AS value FROM json_array_elements_text(${list}::json))`,
  })
}

/** The ids of a list as the operand of `in`. */
export function idsOf(list: IdList): DialectExpression<string> {
  return byDialect({
    sqlite: sql<string>`(SELECT value FROM json_each(${list}))`,
    postgres: sql<string>`(SELECT json_array_elements_text(${list}::json))`,
  })
}

/** The ids of a list as a table with the column `value`. */
export function idTable(list: IdList): DialectExpression<{ value: string }> {
  return byDialect({
    sqlite: sql<{ value: string }>`json_each(${list})`,
    postgres: sql<{ value: string }>`json_array_elements_text(${list}::json)`,
  })
}

/** The elements of a JSON list as a table, for `jsonField`. */
export function jsonTable(list: string): DialectExpression<{ value: string }> {
  return byDialect({
    sqlite: sql<{ value: string }>`json_each(${list})`,
    postgres: sql<{ value: string }>`json_array_elements(${list}::json)`,
  })
}

/** A field of the objects in such a table, or an element of its lists. */
export function jsonField(
  table: string,
  field: string | number,
  type: keyof typeof postgresTypes = 'text',
): DialectExpression<never> {
  const [value, name] = [sql.ref(`${table}.value`), sql.lit(field)]
  return byDialect({
    sqlite: sql<never>`${value} ->> ${name}`,
    postgres: sql<never>`(${value} ->> ${name})::${postgresTypes[type]}`,
  })
}

const postgresTypes = {
  text: sql.raw('text'),
  integer: sql.raw('bigint'),
  real: sql.raw('double precision'),
} as const satisfies Record<string, RawBuilder<unknown>>
