import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { type Component, countingClientPython, countingServerPython, writeMixedApp } from '../harness/python-apps.ts'
import { type Maker, withoutReleases } from '../harness/python-flower.ts'

const python = (source: string): Component => ({ language: 'python', source })
const typescript = (source: string): Component => ({ language: 'typescript', source })

const directions: readonly { superlink: Maker; supernode: Maker; server: Component; client: Component }[] = [
  {
    ...{ superlink: 'trellis', supernode: '1.29' },
    ...{ server: typescript(countingServer), client: python(countingClientPython) },
  },
  {
    ...{ superlink: '1.29', supernode: 'trellis' },
    ...{ server: python(countingServerPython), client: typescript(countingClient) },
  },
]

describe('the REST transport of Flower 1.29', { concurrency: true, skip: withoutReleases('1.29') }, () => {
  for (const { superlink, supernode, server, client } of directions) {
    test(`a SuperNode of ${supernode} trains at a SuperLink of ${superlink}`, async () => {
      const superlinkArguments = ['--fleet-api-type', 'rest']
      await using fleet = await MixedFleet.create({ superlink, superlinkArguments, isPlain: true })
      const node = await fleet.startSupernode(supernode, ['--rest', '--superlink', `http://${fleet.fleetAddress}`])
      const config = 'nodes = 1\nrounds = 1\npause-ms = 0'
      const app = writeMixedApp(fleet.directory.file('app'), { server, client, config })
      const run = await fleet.flwr('trellis', ['run', app, '--stream'])
      assert.match(run.said, /weights: 1 11/)
      // A SuperNode that leaves is gone at the SuperLink too.
      node.kill('SIGINT')
      await node.end()
      if (superlink === 'trellis') await fleet.superlink.line(/SuperNode deactivated/)
    })
  }
})
