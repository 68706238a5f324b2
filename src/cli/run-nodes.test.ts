import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { create } from '@bufbuild/protobuf'
import { ShowRunNodesResponseSchema } from '../gen/flwr/proto/control_pb.ts'
import { RpcError } from '../rpc/rpc-error.ts'
import { findRunNodes, runNodesTable } from './run-nodes.ts'

const response = create(ShowRunNodesResponseSchema, {
  nodes: [
    { nodeId: 2502600160813711026n, name: 'site-a', replies: 4n, failures: 1n, seconds: 8, lastSeconds: 1.5 },
    { nodeId: 11004904891780290339n, name: 'site-k', state: 'works on it since 2026-11-29 10:20:30Z' },
    { nodeId: 3502600160813711026n, name: 'site-b', replies: 4n, seconds: 400, lastSeconds: 130 },
  ],
})

test('the nodes of a run are shown with what they do: those that have not replied first, then the slowest', () => {
  const screen = (width: number) => `\n${stripVTControlCharacters(runNodesTable(response, width))}\n`
  assert.equal(
    screen(120),
    `
Node ID                Name     Replies   Errors   Last Took   Mean     Now
──────────────────────────────────────────────────────────────────────────────────────────────────────────────
11004904891780290339   site-k   0         0                             works on it since 2026-11-29 10:20:30Z
3502600160813711026    site-b   4         0        2m 10s      1m 40s   has replied
2502600160813711026    site-a   4         1        1.5s        2.0s     has replied
`,
  )
  assert.equal(
    screen(60),
    `
Name     Replies   Last Took   Now
────────────────────────────────────────────────────────────
site-k   0                     works on it since 2026-11-29…
site-b   4         2m 10s      has replied
site-a   4         1.5s        has replied
3 columns are hidden: --wide shows all.
`,
  )
  assert.equal(runNodesTable(create(ShowRunNodesResponseSchema), 80), '')
})

test('a SuperLink of Flower does not know the nodes of a run, however it says so', async () => {
  for (const status of ['unimplemented', 'not-found', 'internal'] as const) {
    const client = { showRunNodes: () => Promise.reject(new RpcError(status, 'no such method')) }
    assert.equal(await findRunNodes(client as unknown as Parameters<typeof findRunNodes>[0], 1n), undefined)
  }
})
