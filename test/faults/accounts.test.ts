import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import type { Channel } from '../../src/rpc/channel.ts'
import { TestCa } from '../harness/certificates.ts'
import { joinFleet, MutualTlsSuperlink, refusalOf } from '../harness/mutual-tls.ts'
import { type Party, TwoRuns } from '../harness/two-runs.ts'

const control = Control.method
const policyOf = (text: string) => (file: (name: string) => string) => {
  writeFileSync(file('policy.toml'), text)
  return ['--ssl-client-policy', file('policy.toml')]
}

/** What an account gets when it lists, looks at, follows and stops a run. */
async function attempts(account: Channel, runId: bigint): Promise<Record<string, string>> {
  const runs = (await account.call(control.listRuns, {})).message.runDict
  const first = async (stream: AsyncIterable<unknown>): Promise<void> => {
    for await (const _part of stream) return
  }
  const outcome = async (work: () => Promise<unknown>): Promise<string> => {
    try {
      await work()
      return 'done'
    } catch (error) {
      return refusalOf(Promise.reject(error))
    }
  }
  return {
    list: String(runId.toString() in runs),
    show: await outcome(() => account.call(control.listRuns, { runId })),
    events: await outcome(() => first(account.stream(control.streamRunEvents, { runId }))),
    nodes: await outcome(() => account.call(control.showRunNodes, { runId })),
    logs: await outcome(() => first(account.stream(control.streamLogs, { runId, afterTimestamp: 0 }))),
    stop: await outcome(() => account.call(control.stopRun, { runId })),
  }
}

const all = (what: string, list = 'false') => ({ list, show: what, events: what, nodes: what, logs: what, stop: what })

describe('a run belongs to the account that started it', { concurrency: false }, () => {
  for (const transport of ['grpc', 'http'] as const) {
    test(`other accounts neither see nor follow nor stop it, and cannot tell whether it exists, over ${transport}`, async () => {
      await using world = await TwoRuns.start({ transport })
      const { alice, bob } = world
      const unknown = await attempts(bob.account, alice.runId ^ 1n)
      assert.deepEqual(await attempts(bob.account, alice.runId), unknown)
      assert.match(unknown.stop ?? '', /^Run ID not found/)
      const audited = readFileSync(world.deployment.file('audit.jsonl'), 'utf8').trim().split('\n')
      const refused = audited.map((line) => JSON.parse(line)).filter(({ decision }) => decision === 'refuse')
      assert.deepEqual(
        refused.map(({ method, identity, reason }) => [method.split('/').at(-1), identity, reason]),
        ['ListRuns', 'StreamRunEvents', 'ShowRunNodes', 'StreamLogs', 'StopRun'].map((name) => [
          name,
          'bob',
          'run-of-another-account',
        ]),
      )
      assert.deepEqual(await attempts(alice.account, alice.runId), all('done', 'true'))
    })
  }

  test('a colleague of the same organisation hears which entry would allow it', async () => {
    await using world = await TwoRuns.start({ organizations: ['Lab', 'Lab'] })
    const { alice, bob } = world
    assert.deepEqual(await attempts(bob.account, alice.runId), all('run-of-another-account'))
    await assert.rejects(
      bob.account.call(control.stopRun, { runId: alice.runId }),
      /does not belong to this account.*account bob.*runs = "organization"/,
    )
  })

  test('runs = "organization" opens the runs of the organisation, and no others', async () => {
    const policy = '[[allow]]\nidentity = "*"\nroles = ["cli", "supernode"]\nruns = "organization"\n'
    for (const [organizations, expected] of [
      [['Lab', 'Lab'], all('done', 'true')],
      [['Lab', 'Clinic'], all('Run ID not found')],
      // Accounts without an organisation are not one organisation.
      [['', ''], all('Run ID not found')],
    ] as const) {
      await using world = await TwoRuns.start({ organizations, arguments: policyOf(policy) })
      assert.deepEqual(await attempts(world.bob.account, world.alice.runId), expected)
    }
  })

  test('an admin sees and stops all runs and unregisters SuperNodes, and no one else does', async () => {
    const policy =
      '[[allow]]\nidentity = "*"\nroles = ["cli", "supernode"]\n[[allow]]\nidentity = "root"\nroles = ["admin"]\n'
    await using world = await TwoRuns.start({ arguments: policyOf(policy) })
    const { alice, bob, deployment } = world
    assert.equal(await refusalOf(bob.account.call(control.unregisterNode, { nodeId: alice.nodeId })), 'admin-required')
    const root = deployment.connect('control', (await deployment.ca.issue('root')).issued)
    assert.deepEqual(await attempts(root, alice.runId), all('done', 'true'))
    await root.call(control.unregisterNode, { nodeId: alice.nodeId })
    assert.equal(await refusalOf(heartbeat(alice)), 'node-of-another-identity')
    // The account with the identity of a SuperNode owns it.
    const own = deployment.connect('control', bob.nodePair)
    await own.call(control.unregisterNode, { nodeId: bob.nodeId })
    const fleet = deployment.connect('fleet', (await deployment.ca.issue('root')).issued)
    assert.ok((await joinFleet(fleet)) > 0n, 'an entry for everybody counts for an admin too')
  })

  test('without a policy no account is an admin', async () => {
    await using world = await TwoRuns.start()
    const { alice, bob } = world
    await assert.rejects(
      bob.account.call(control.unregisterNode, { nodeId: alice.nodeId }),
      /needs the role admin \(bob\): add "admin" to the roles/,
    )
    assert.equal((await heartbeat(alice)).message.success, true)
  })
})

function heartbeat({ node, nodeId }: Party) {
  return node.call(Fleet.method.sendNodeHeartbeat, { node: { nodeId }, heartbeatInterval: 30 })
}

test('with [[ca]] rules no CA takes the SuperNode, the account or the runs of another organisation', async () => {
  const names = { a: 'hospital-a-ca.crt', b: 'hospital-b-ca.crt' }
  let caA: TestCa | undefined
  let caB: TestCa | undefined
  await using deployment = await MutualTlsSuperlink.start(async (file, ca) => {
    caA = await TestCa.create(ca.directory, 'hospital-a-ca')
    caB = await TestCa.create(ca.directory, 'hospital-b-ca')
    writeFileSync(file('clients.crt'), [ca, caA, caB].map(({ issued }) => issued.certificatePem).join('\n'))
    const rule = (path: string, organization: string) =>
      `[[ca]]\nfile = "${path}"\norganizations = ["${organization}"]\n`
    writeFileSync(file('policy.toml'), rule(names.a, 'Hospital A') + rule(names.b, 'Hospital B'))
    return ['--ssl-client-ca-certfile', file('clients.crt'), '--ssl-client-policy', file('policy.toml')]
  })
  const of = async (ca: TestCa | undefined, commonName: string, organization: string) =>
    (await (ca as TestCa).issue(`${commonName} of ${organization}`, { commonName, organization })).issued
  const nodeOfB = await of(caB, 'node-1', 'Hospital B')
  const program = { 'trellis-process': 'b' }
  const nodeId = await joinFleet(deployment.connect('fleet', nodeOfB, 'grpc', program))
  const impostor = deployment.connect('fleet', await of(caA, 'node-1', 'Hospital A'))
  const beat = { node: { nodeId }, heartbeatInterval: 30 }
  assert.equal(await refusalOf(impostor.call(Fleet.method.sendNodeHeartbeat, beat)), 'node-of-another-identity')
  assert.notEqual(await joinFleet(impostor), nodeId, 'the same name in another organisation is another SuperNode')
  const claiming = deployment.connect('fleet', await of(caA, 'node-1', 'Hospital B'))
  assert.equal(await refusalOf(joinFleet(claiming)), 'organization-not-allowed')
  const renewed = await of(caB, 'node-1', 'Hospital B')
  assert.equal(await joinFleet(deployment.connect('fleet', renewed, 'grpc', program)), nodeId)

  const impostorAccount = deployment.connect('control', await of(caA, 'node-1', 'Hospital A'))
  assert.equal(await refusalOf(impostorAccount.call(control.unregisterNode, { nodeId })), 'admin-required')
})
