import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { mock, test } from 'node:test'
import { parse } from 'smol-toml'
import { type Context, InMemoryGrid } from 'trellis-fl'
import { app as clientApp } from './client-app.ts'
import { app as serverApp } from './server-app.ts'

type UserConfig = Context['runConfig']

/** What `pyproject.toml` says, as an app is given it: whole numbers are `bigint`s. */
function defaultConfig(): UserConfig {
  const text = readFileSync(join(import.meta.dirname, '..', 'pyproject.toml'), 'utf8')
  const project = parse(text, { integersAsBigInt: true }) as unknown as {
    tool: { flwr: { app: { config: UserConfig } } }
  }
  return project.tool.flwr.app.config
}

test('with its default settings and three nodes the app gets nine of ten unseen digits right', async () => {
  const lines: string[] = []
  const written = mock.method(process.stderr, 'write', (line: string) => lines.push(line) > 0)
  const runConfig = defaultConfig()
  const nodes = [0n, 1n, 2n].map((id) => ({
    app: clientApp,
    nodeConfig: { 'partition-id': id, 'num-partitions': 3n },
  }))
  const grid = new InMemoryGrid(nodes, { runConfig })
  await grid.run(serverApp)
  written.mock.restore()

  const [, accuracy] = /Final test accuracy: (\S+) \(300 images/.exec(lines.join('')) ?? []
  assert.ok(Number(accuracy) >= 0.9, lines.join(''))
  const ends = grid.progress.filter(({ phase }) => phase === 'round-end')
  assert.equal(ends.length, Number(runConfig['num-server-rounds']))
  assert.equal(ends.at(-1)?.metrics?.['test-accuracy']?.toFixed(4), accuracy)
})
