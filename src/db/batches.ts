/** Ids in one statement. SQLite binds 32,766 values at most. */
const idsPerStatement = 500

/** Cuts ids into lists for one statement each: other work goes on between statements. */
export function* inBatches(ids: readonly string[]): Generator<readonly string[]> {
  for (let start = 0; start < ids.length; start += idsPerStatement) yield ids.slice(start, start + idsPerStatement)
}
