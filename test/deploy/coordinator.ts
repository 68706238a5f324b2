import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { countingClient, countingServer } from '../harness/apps.ts'
import type { temporaryDirectory } from '../harness/directory.ts'
import { run } from '../harness/program.ts'
import { writeApp } from '../harness/write-app.ts'
import type { Fleet } from './fleet.ts'

/** A person with the coordinator's certificate, and what this person does with a fleet. */

type Flwr = (...args: string[]) => ReturnType<typeof run>
type Directory = ReturnType<typeof temporaryDirectory>
type FleetAddress = Pick<Fleet, 'issuers' | 'controlAddress'>

/** Returns `flwr` of a person with the coordinator's certificate. */
export function coordinator(fleet: FleetAddress, rootsPem: string, directory: Directory): Flwr {
  const { file, path } = directory
  writeCoordinator(fleet, rootsPem, directory)
  return (...args) =>
    run('flwr', args, { cwd: path, env: { FLWR_HOME: file('home'), NO_COLOR: '1' }, timeoutMs: 600_000 })
}

/** Writes the folder `home` with this person's certificate and connection, for FLWR_HOME. */
export function writeCoordinator(fleet: FleetAddress, rootsPem: string, { file }: Directory): void {
  mkdirSync(file('home'))
  const pair = fleet.issuers.secrets.get('trellis-coordinator-tls') ?? {}
  for (const [name, text] of Object.entries(pair)) writeFileSync(file(`home/${name}`), text, { mode: 0o600 })
  writeFileSync(file('home/superlink-ca.crt'), rootsPem)
  const lines = [
    ...['[superlink]', 'default = "cluster"', '[superlink.cluster]', `address = "${fleet.controlAddress}"`],
    `root-certificates = "${file('home/superlink-ca.crt')}"`,
    `client-certificate = "${file('home/tls.crt')}"`,
    `client-private-key = "${file('home/tls.key')}"`,
  ]
  writeFileSync(file('home/config.toml'), `${lines.join('\n')}\n`)
}

/** The SuperNodes that are online, by their identities. */
export async function nodes(flwr: Flwr): Promise<Map<string, { id: string; serial: string }>> {
  const { stdout } = await flwr('supernode', 'list', '--format', 'json')
  const listed = JSON.parse(stdout).nodes as Record<string, string>[]
  const online = listed.filter(({ status }) => status === 'online')
  return new Map(
    online.map((node) => [
      node.identity as string,
      { id: node['node-id'] as string, serial: node['certificate-serial'] as string },
    ]),
  )
}

/** Trains with the nodes of both sites; not one reply may be missing. */
export async function train(
  flwr: Flwr,
  { file }: Directory,
  { rounds, pauseMs }: { rounds: number; pauseMs: number },
): Promise<void> {
  const config = `nodes = 2\nrounds = ${rounds}\npause-ms = ${pauseMs}`
  await trainApp(flwr, writeApp(file('testapp'), { server: countingServer, client: countingClient, config }), rounds)
}

/** As `train`, with an app that counts in any language. */
export async function trainApp(flwr: Flwr, app: string, rounds: number): Promise<void> {
  const { status, said } = await flwr('run', app, '--stream')
  assert.equal(status, 0, said)
  assert.ok(said.includes(`weights: ${rounds} ${rounds + 10}`), said)
  assert.equal(said.match(/Received 2 results and 0 failures/g)?.length, rounds * 2, said)
}
