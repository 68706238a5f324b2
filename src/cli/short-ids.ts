import { UsageError } from '../base/errors.ts'
import { listAllRuns } from './all-runs.ts'
import type { ControlClient } from './connect.ts'

/** Ids as tables show them in a narrow terminal: their first digits. Fewer than six would name a run too easily by mistake. */
const digitsMin = 6
/** Random 64-bit ids have fewer digits than this only once in a hundred thousand. */
const wholeIdDigits = 15

/** Returns the id of a run from the whole id or its first digits. Throws a UsageError if these stand for more than one run. */
export async function findRunId(client: Pick<ControlClient, 'listRuns'>, given: bigint, what: string): Promise<bigint> {
  return findId(given, what, async () => (await listAllRuns(client)).runs.map(({ runId }) => runId))
}

/** Returns the id of a SuperNode from the whole id or its first digits. Throws a UsageError like `findRunId`. */
export async function findNodeId(
  client: Pick<ControlClient, 'listNodes'>,
  given: bigint,
  what: string,
): Promise<bigint> {
  return findId(given, what, async () => (await client.listNodes({})).nodesInfo.map(({ nodeId }) => nodeId))
}

/** Returns an unknown id as it was given: the SuperLink reports it. */
async function findId(given: bigint, what: string, list: () => Promise<readonly bigint[]>): Promise<bigint> {
  const text = String(given)
  if (text.length < digitsMin || text.length >= wholeIdDigits) return given
  const ids = await list()
  if (ids.includes(given)) return given
  const found = [...new Set(ids)].filter((other) => String(other).startsWith(text))
  if (found.length > 1)
    throw new UsageError(`${what} '${text}' stands for ${found.join(' and ')}: give more digits.`, { exitStatus: 2 })
  return found[0] ?? given
}
