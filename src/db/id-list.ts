import { type RawBuilder, sql } from 'kysely'

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

/** The ids of a list as the operand of `in`. */
export function idsOf(list: IdList): RawBuilder<string> {
  return sql<string>`(SELECT value FROM json_each(${list}))`
}

/** The ids of a list as a table with the column `value`. */
export function idTable(list: IdList): RawBuilder<{ value: string }> {
  return sql<{ value: string }>`json_each(${list})`
}

/** The elements of a JSON list as a table, for `jsonField`. */
export function jsonTable(list: string): RawBuilder<{ value: string }> {
  return sql<{ value: string }>`json_each(${list})`
}

/** A field of the objects in such a table. */
export function jsonField(table: string, field: string): RawBuilder<never> {
  return sql<never>`${sql.ref(`${table}.value`)} ->> ${sql.lit(field)}`
}
