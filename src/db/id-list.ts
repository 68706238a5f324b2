import { type RawBuilder, sql } from 'kysely'
import { toSqlite } from './row.ts'

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
  return `[${ids.map(toSqlite).join()}]` as IdList
}

/** The ids of a `numberList` as the operand of `in`. */
export function numbersOf<Id extends bigint>(list: IdList): RawBuilder<Id> {
  return sql<Id>`(SELECT value FROM json_each(${list}))`
}

/** The ids of a `numberList` as a table with the column `value`. */
export function numberTable(list: IdList): RawBuilder<{ value: bigint }> {
  return sql<{ value: bigint }>`json_each(${list})`
}

/** The ids of a list as the operand of `in`. */
export function idsOf(list: IdList): RawBuilder<string> {
  return sql<string>`(SELECT value FROM json_each(${list}))`
}

/** The ids of a list as a table with the column `value`. */
export function idTable(list: IdList): RawBuilder<{ value: string }> {
  return sql<{ value: string }>`json_each(${list})`
}
