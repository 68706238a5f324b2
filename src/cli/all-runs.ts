import type { Control } from '../gen/flwr/proto/control_pb.ts'
import type { Run } from '../gen/flwr/proto/run_pb.ts'
import type { Client } from '../rpc/channel.ts'

/** So many runs SuperLinks of Flower 1.41 answer unless asked for more. */
const pageByDefault = 20
const pageMax = 500

/**
 * Every run that the caller may see, and the SuperLink's time. Asks without a limit, because Flower 1.29 returns all; where
 * exactly a default page came there may be more, which is asked for until a page brings nothing new.
 */
export async function listAllRuns(
  client: Pick<Client<typeof Control>, 'listRuns'>,
): Promise<{ runs: Run[]; now: string }> {
  const first = await client.listRuns({})
  const runs = new Map(Object.values(first.runDict).map((run) => [run.runId, run]))
  for (let more = runs.size === pageByDefault; more; ) {
    const { runDict } = await client.listRuns({ limit: BigInt(pageMax), skip: BigInt(runs.size) })
    const page = Object.values(runDict)
    const known = runs.size
    for (const run of page) runs.set(run.runId, run)
    more = page.length >= pageMax && runs.size > known
  }
  return { runs: [...runs.values()], now: first.now }
}
