import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { ShowRunNodesResponseSchema } from '../gen/flwr/proto/control_pb.ts'
import { barsOf } from '../web/waterfall.ts'
import { runNodesState } from './run-nodes-state.ts'

test('the page gets the newest phases, and of each the slowest replies', () => {
  const spans = Array.from({ length: 10 }, (_, phase) =>
    Array.from({ length: 100 }, (_, node) => ({
      ...{ phase, nodeId: BigInt(node), askedAt: 100, fetchedAt: 101, repliedAt: 102 + node, failed: false },
    })),
  ).flat()
  const nodes = Array.from({ length: 1000 }, (_, node) => ({ nodeId: BigInt(node), name: `\x1b[2Jsite-${node}` }))
  const state = runNodesState(create(ShowRunNodesResponseSchema, { nodes, spans }))
  assert.deepEqual(
    state.phases.map(({ label, more }) => [label, more]),
    [9, 8, 7, 6, 5].map((phase) => [`messages ${phase}`, 40]),
  )
  assert.equal(state.phases[0]?.spans[0]?.name, 'site-99')
  assert.equal(state.nodes.length, 200)
})

test('a bar is as long as its part of the phase, also if clocks went back', () => {
  const span = { id: '1', name: '', askedAt: 1000, fetchedAt: 2000, repliedAt: 5000, failed: false }
  const phase = { label: '', startedAt: 1000, endedAt: 5000, more: 0 }
  const partsOf = (other: object) =>
    barsOf({ ...phase, spans: [{ ...span, ...other }] }).map(({ start, wait, work }) => [start, wait, work])
  assert.deepEqual(partsOf({}), [[0, 0.25, 0.75]])
  assert.deepEqual(partsOf({ fetchedAt: 0 }), [[0, 1, 0]])
  assert.deepEqual(partsOf({ fetchedAt: 500, repliedAt: 900 }), [[0, 0, 0]])
})
