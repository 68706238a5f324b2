import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { writeStoredZip } from '../../src/base/zip-write.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { eventually } from '../harness/program.ts'
import { writeMixedApp } from '../harness/python-apps.ts'
import { pythonOf, type Release, withoutPython } from '../harness/python-flower.ts'

/** An app that imports a library that no environment here has; a folder of wheels takes the place of an index. */
const server = `from trellis_probe import answer
from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()

@app.main()
def main(grid, context):
    messages = [Message(RecordDict(), dst_node_id=node, message_type="query") for node in grid.get_node_ids()]
    replies = grid.send_and_receive(messages)
    told = [reply.error.reason if reply.has_error() else str(reply.content["told"]["answer"]) for reply in replies]
    print("server", answer, "node", *told)
`
const client = `from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from trellis_probe import answer

app = ClientApp()

@app.query()
def query(message, context):
    return Message(RecordDict({"told": ConfigRecord({"answer": answer})}), reply_to=message)
`
const allow = ['--allow-runtime-dependency-installation']

describe('dependencies of Python apps', { concurrency: 2, skip: withoutPython }, () => {
  for (const release of ['1.29', '1.41'] as const) {
    test(`are installed for the time of the run where both sides allow it, as Flower ${release} does it`, async () => {
      await using fleet = await MixedFleet.create({ superlink: 'trellis', python: release, superlinkArguments: allow })
      const homes = [fleet.directory.file('home-trellis'), await startSupernode(fleet, release, allow)]
      const run = await fleet.flwr('trellis', ['run', writeApp(fleet, ['trellis-probe>=1.0']), '--stream'])
      assert.equal(run.status, 0, run.said)
      assert.match(run.said, /server 42 node 42/)
      for (const home of homes) {
        const folder = join(home, 'runtime-envs')
        assert.ok(existsSync(folder), `${folder} was made`)
        await eventually(`the end of what is in ${folder}`, () => readdirSync(folder).length === 0)
      }
    })
  }
  test('are not installed unless the operator allows it, and a requirement that cannot be had ends the run with the reason', async () => {
    await using fleet = await MixedFleet.create({ superlink: 'trellis', python: '1.41', superlinkArguments: allow })
    await startSupernode(fleet, '1.41', [])
    const run = await fleet.flwr('trellis', ['run', writeApp(fleet, ['trellis-probe>=1.0']), '--stream'])
    assert.match(run.said, /server 42 node .*No module named 'trellis_probe'/, run.said)
    const refused = await fleet.flwr('trellis', ['run', writeApp(fleet, ['trellis-probe>=2.0']), '--stream'])
    assert.equal(refused.status, 1, refused.said)
    assert.match(refused.said, /uv sync failed/)
  })
})

/** In a home of its own, as on a machine of its own; returns the home. */
async function startSupernode(fleet: MixedFleet, release: Release, args: readonly string[]): Promise<string> {
  const home = fleet.directory.file('home-node')
  mkdirSync(home)
  const trust = ['--root-certificates', fleet.ca.certfile, '--superlink', fleet.fleetAddress]
  const node = fleet.start('trellis', 'flower-supernode', [...trust, '--python', pythonOf(release), ...args], {
    FLWR_HOME: home,
  })
  await node.line(/SuperNode ID: (\d+)/)
  return home
}

function writeApp(fleet: MixedFleet, dependencies: readonly string[]): string {
  const wheels = fleet.directory.file('wheels')
  writeWheel(wheels, 'trellis-probe', '1.0', { 'trellis_probe.py': 'answer = "42"\n' })
  // What runs is the Flower of the environment; uv only wants to know that it could be had.
  writeWheel(wheels, 'flwr', '1.41.0', {})
  return writeMixedApp(fleet.directory.file('with-dependencies'), {
    server: { language: 'python', source: server },
    client: { language: 'python', source: client },
    dependencies: ['flwr>=1.29', ...dependencies],
    config: `[tool.uv]\nno-index = true\nfind-links = ["${wheels}"]\ncache-dir = "${fleet.directory.file('uv-cache')}"`,
  })
}

/** A package that is ready to be installed: its modules, and its metadata. */
function writeWheel(folder: string, name: string, version: string, modules: Record<string, string>): void {
  const stem = `${name.replace('-', '_')}-${version}`
  const about = {
    METADATA: `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\n`,
    WHEEL: 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
  }
  const files: [string, string][] = [
    ...Object.entries(modules),
    ...Object.entries(about).map(([file, text]): [string, string] => [`${stem}.dist-info/${file}`, text]),
  ]
  const record = `${stem}.dist-info/RECORD`
  files.push([record, [...files.map(([file]) => `${file},,`), `${record},,`, ''].join('\n')])
  mkdirSync(folder, { recursive: true })
  const zip = writeStoredZip(files.map(([file, text]) => [file, Buffer.from(text)] as const))
  writeFileSync(join(folder, `${stem}-py3-none-any.whl`), zip)
}
