import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Client, credentials, status } from '@grpc/grpc-js'
import { ClientAppIo } from '../../src/gen/flwr/proto/clientappio_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { ServerAppIo } from '../../src/gen/flwr/proto/serverappio_pb.ts'
import { createChannel, RpcError } from '../../src/rpc/channel.ts'
import { readTrust } from '../../src/rpc/trust-arguments.ts'
import { countingClient, countingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { eventually } from '../harness/program.ts'

const app = { server: countingServer, client: countingClient, config: 'nodes = 1\nrounds = 1' }

const launcherMethods = ['listAppsToLaunch', 'requestToken', 'getRun'] as const
const unauthenticated = 'unauthenticated'

/** Makes every call by which a SuperExec takes work, in both generations, and returns those that were not refused. */
async function acceptedAt(
  address: string,
  caFile: string | undefined,
  service: typeof ServerAppIo | typeof ClientAppIo,
) {
  const { tls } = await readTrust(caFile === undefined, caFile)
  using channel = createChannel({ address, tls, transport: 'http', component: 'test' })
  const request = { supportedTaskTypes: ['flwr-serverapp', 'flwr-clientapp'] }
  const outcomes = [
    await channel.call(Runtime.method.acquireTask, request, { waitMs: 0 }).then(
      () => 'AcquireTask was accepted',
      (error: unknown) => (error instanceof RpcError ? error.status : String(error)),
    ),
  ]
  // As programs of Flower 1.29 call: ours would name their release.
  const roots = caFile === undefined ? credentials.createInsecure() : credentials.createSsl(readFileSync(caFile))
  const client = new Client(address, roots, { 'grpc.ssl_target_name_override': 'localhost' })
  for (const name of launcherMethods) {
    const path = `/${service.typeName}/${service.method[name].name}`
    outcomes.push(
      await new Promise<string>((resolve) => {
        const send = (bytes: Buffer): Buffer => bytes
        client.makeUnaryRequest(path, send, send, Buffer.alloc(0), (error) =>
          resolve(
            error?.code === status.UNAUTHENTICATED ? unauthenticated : `${name}: ${error?.message ?? 'accepted'}`,
          ),
        )
      }),
    )
  }
  client.close()
  assert.equal(outcomes.length, 4)
  return outcomes.filter((outcome) => outcome !== unauthenticated)
}

test('only the SuperExec of a SuperLink and of a SuperNode takes their tasks, also after it was killed', async () => {
  await using deployment = await Deployment.create({ mutualTls: true })
  const [, plain = ''] = await deployment.superlink.line(/Starting ServerAppIo API on (\S+)/)
  const node = await deployment.startSupernode('node-1')
  const [, nodeApps = ''] = await node.line(/Starting Runtime API on (\S+)/)
  const superexecs = (): number[] => deployment.children('flower-superexec')
  await eventually('both SuperExecs', () => superexecs().length === 2)
  const before = superexecs()

  assert.deepEqual(await acceptedAt(deployment.mainAddress, deployment.ca.certfile, ServerAppIo), [])
  assert.deepEqual(await acceptedAt(plain, undefined, ServerAppIo), [])
  assert.deepEqual(await acceptedAt(nodeApps, undefined, ClientAppIo), [])

  // What other programs of this machine can read of a process does not tell the secret.
  for (const pid of before) {
    const read = (file: string): string => readFileSync(`/proc/${pid}/${file}`, 'utf8')
    assert.match(read('cmdline'), /--superexec-auth-secret-stdin/)
    assert.doesNotMatch(`${read('cmdline')} ${read('environ')}`, /[0-9a-f]{64}/)
  }

  for (const pid of before) process.kill(pid, 'SIGKILL')
  await eventually('new SuperExecs', () => superexecs().filter((pid) => !before.includes(pid)).length === 2)
  const run = await deployment.flwr('run', deployment.writeApp(app), '--stream')
  assert.equal(run.status, 0, run.said)
  assert.match(run.said, /weights: 1 11/)
})
