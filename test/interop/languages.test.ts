import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expectedDigest, type Language, writeBilingualApp } from '../harness/bilingual-app.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { writeMixedApp } from '../harness/python-apps.ts'
import { withoutPython } from '../harness/python-flower.ts'

/** A ServerApp that comes to its end whatever its nodes reply. */
const queryServer = `from logging import INFO
from flwr.app import Message, RecordDict
from flwr.common.logger import log
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    nodes = grid.get_node_ids()
    queries = [Message(RecordDict(), dst_node_id=node, message_type="query") for node in nodes]
    log(INFO, "replies: %d", len(list(grid.send_and_receive(queries))))
`

const unloadableClient = `import a_library_that_no_site_has
from flwr.clientapp import ClientApp

app = ClientApp()
`

/** Trains on that fleet; the bytes at the end must be those that are worked out here. */
async function trainToTheBit(fleet: MixedFleet, server: Language, client: Language): Promise<void> {
  const app = writeBilingualApp(fleet.directory.file(`${server}-and-${client}`), { server, client })
  const run = await fleet.flwr('trellis', ['run', app, '--stream'])
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, new RegExp(`digest: ${expectedDigest()}`), `${server} and ${client}`)
}

test('a TypeScript ServerApp at our SuperLink and Python ClientApps of both releases end at the same bits', {
  skip: withoutPython,
}, async () => {
  await using fleet = await MixedFleet.create({ superlink: 'trellis' })
  await fleet.startSupernode('1.29')
  await fleet.startSupernode('1.41')
  await trainToTheBit(fleet, 'typescript', 'python')
})

for (const python of ['1.29', '1.41'] as const) {
  test(`at our SuperLink and SuperNodes apps of both languages end at the same bits, and an app that loads at no node has failed, Python's run by ${python}`, {
    skip: withoutPython,
  }, async () => {
    await using fleet = await MixedFleet.create({ superlink: 'trellis', python })
    const nodes = [await fleet.startSupernode('trellis'), await fleet.startSupernode('trellis')]
    await trainToTheBit(fleet, 'python', 'typescript')
    await trainToTheBit(fleet, 'typescript', 'python')
    await trainToTheBit(fleet, 'python', 'python')
    // On a busy machine an app may be launched again because it did not come up in time.
    const faults = nodes.flatMap(({ said }) => said.match(/^.*(?:WARNING|ERROR|Traceback).*$/gm) ?? [])
    const others = faults.filter((line) => !line.includes('An app did not come up in time'))
    assert.deepEqual(others, [], 'the end of a run is no fault')

    const app = writeMixedApp(fleet.directory.file('unloadable'), {
      server: { language: 'python', source: queryServer },
      client: { language: 'python', source: unloadableClient },
    })
    const run = await fleet.flwr('trellis', ['run', app, '--stream'])
    assert.match(run.said, /replies: 2/)
    assert.ok(!run.stdout.includes('\x1b'), 'the colours of the logger of Python are for a terminal')
    assert.match(
      run.said,
      // The releases say it with more words or fewer.
      /finished:failed: No SuperNode could load the app\. The first one said: .*(a_library_that_no_site_has|attempting to load)/,
    )
    assert.notEqual(run.status, 0, run.said)
  })
}
