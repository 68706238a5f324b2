import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { errorCodes } from '../../src/message/message.ts'
import { joinFleet, refusalOf } from '../harness/mutual-tls.ts'
import { type Party, TwoRuns } from '../harness/two-runs.ts'

const control = Control.method
const heartbeat = ({ node, nodeId }: Party) =>
  node.call(Fleet.method.sendNodeHeartbeat, { node: { nodeId }, heartbeatInterval: 30 })

/** The nodes that the app of a party may use. */
async function usable(world: TwoRuns, { runId, ...party }: Party): Promise<bigint[]> {
  const { channel, options } = world.appOf(party)
  const { nodes } = (await channel.call(Runtime.method.getNodes, { runId }, options)).message
  return nodes.map(({ nodeId }) => nodeId)
}

/** Two runs, and the account `root` of an admin. */
async function start(transport: 'grpc' | 'http') {
  const world = await TwoRuns.start({
    transport,
    arguments: (file) => {
      const everybody = '[[allow]]\nidentity = "*"\nroles = ["cli", "supernode"]\n'
      writeFileSync(file('policy.toml'), `${everybody}[[allow]]\nidentity = "root"\nroles = ["admin"]\n`)
      return ['--ssl-client-policy', file('policy.toml')]
    },
  })
  const root = world.deployment.connect('control', (await world.deployment.ca.issue('root')).issued, transport)
  const set = (nodeId: bigint, admission: string) => root.call(control.setNodeAdmission, { nodeId, admission })
  const shown = async (nodeId: bigint) =>
    (await root.call(control.listNodes, {})).message.nodesInfo
      .filter((node) => node.nodeId === nodeId)
      .map(({ status, admission }) => [status, admission])[0]
  return { world, root, set, shown, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() }
}

for (const transport of ['grpc', 'http'] as const) {
  test(`a blocked SuperNode is refused with the reason until it is unblocked, over ${transport}`, async () => {
    await using at = await start(transport)
    const { world, root, set, shown } = at
    const { alice, bob, deployment } = world
    const asked = await world.instruct(alice, alice.nodeId)
    await world.fetch(alice)

    assert.equal(
      await refusalOf(bob.account.call(control.setNodeAdmission, { nodeId: alice.nodeId, admission: 'blocked' })),
      'admin-required',
    )
    await assert.rejects(set(alice.nodeId ^ 1n, 'blocked'), /Node ID not found/)
    await assert.rejects(set(alice.nodeId, 'closed'), /'open', 'draining' or 'blocked'/)
    await set(alice.nodeId, 'blocked')
    assert.deepEqual(await shown(alice.nodeId), ['offline', 'blocked'])
    await assert.rejects(heartbeat(alice), /has blocked the SuperNode \(.*\): flwr supernode unblock lets it in again/)
    assert.equal(await refusalOf(heartbeat(alice)), 'node-blocked')
    const [gone] = await world.replies(alice, [asked.messageId])
    assert.equal(
      gone?.error?.code,
      BigInt(errorCodes.nodeUnavailable),
      'its ServerApp hears at once that the node is gone',
    )

    // Neither a new certificate nor a new node id helps.
    const renewed = (await deployment.ca.issue('renewed', { commonName: 'node-1' })).issued
    const again = deployment.connect('fleet', renewed, transport)
    assert.equal(await refusalOf(joinFleet(again)), 'node-blocked')
    await root.call(control.unregisterNode, { nodeId: alice.nodeId })
    assert.equal(await refusalOf(joinFleet(again)), 'node-blocked')
    assert.equal((await heartbeat(bob)).message.success, true, 'others are not touched')

    await set(alice.nodeId, 'open')
    assert.ok((await joinFleet(again)) > 0n)
    const audited = readFileSync(deployment.file('audit.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.deepEqual(
      audited
        .filter(({ method, identity }) => /SetNodeAdmission/.test(method) && identity === 'root')
        .map(({ decision }) => decision)
        .slice(-2),
      ['allow', 'allow'],
    )
  })

  test(`a drained SuperNode gets nothing new, and its replies are accepted, over ${transport}`, async () => {
    await using at = await start(transport)
    const { world, set, shown } = at
    const { alice, bob } = world
    const asked = await world.instruct(alice, alice.nodeId)
    await world.fetch(alice)
    await set(alice.nodeId, 'draining')
    assert.deepEqual(await shown(alice.nodeId), ['online', 'draining'])
    assert.deepEqual(await usable(world, alice), [bob.nodeId])
    const refused = await world.instruct(alice, alice.nodeId, { seed: 1, upload: false })
    assert.deepEqual((await world.upload(alice, refused)).length, refused.objects.size, 'it was not taken')
    assert.equal((await heartbeat(alice)).message.success, true)
    await world.reply(alice, asked)
    const replies = await world.replies(alice, [asked.messageId])
    assert.deepEqual(
      replies.map(({ error }) => error),
      [undefined],
    )
    await set(alice.nodeId, 'open')
    assert.deepEqual((await usable(world, alice)).toSorted(), [alice.nodeId, bob.nodeId].toSorted())
  })
}
