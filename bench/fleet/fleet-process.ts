import { generateNodeKey } from '../../src/identity/node-key.ts'
import { type Issued, issue } from '../../src/identity/pki.ts'
import { validFor } from '../../test/harness/certificates.ts'
import { FleetCounts } from './fleet-counts.ts'
import type { FleetCommand, FleetReport, FleetSettings } from './simulated-fleet.ts'
import { SimulatedNode } from './simulated-node.ts'

/** A process with some of the nodes of a simulated fleet. It obeys the messages of its parent, and ends with it. */

const stop = new AbortController()
const counts = new FleetCounts()
let nodes: SimulatedNode[] = []
let settings: FleetSettings | undefined

const tell = (report: FleetReport): void => void process.send?.(report)

process.on('disconnect', () => process.exit())
process.on('message', (command: FleetCommand) => {
  obey(command).catch((error: Error) => {
    tell({ kind: 'failed', reason: error.stack ?? error.message })
    process.exit(1)
  })
})

async function obey(command: FleetCommand): Promise<void> {
  switch (command.kind) {
    case 'prepare':
      settings = command.settings
      nodes = await createNodes(command.settings)
      return tell({ kind: 'prepared' })
    case 'join':
      await join()
      return tell({ kind: 'joined' })
    case 'vanish':
      for (const node of nodes.slice(0, command.count)) node.vanish()
      return tell({ kind: 'vanishing' })
    case 'report':
      return tell({ kind: 'counts', counts: counts.take(), cpu: process.cpuUsage() })
  }
}

async function createNodes(settings: FleetSettings): Promise<SimulatedNode[]> {
  const { first, count, host, port, ca, credentials, pollPauseMs, messages } = settings
  const common = { counts, pollPauseMs, messages, signal: stop.signal }
  const { publicKeyPem } = generateNodeKey()
  const created: SimulatedNode[] = []
  for (let index = first; index < first + count; index++) {
    const peer = { host, port, rootsPem: ca.certificatePem }
    if (credentials === 'keys') {
      const key = generateNodeKey()
      created.push(new SimulatedNode({ ...common, index, peer, publicKey: key.publicKeyPem, key }))
      continue
    }
    const issued: Issued = await issue({ commonName: `node-${index}`, usages: ['client'], ...validFor(1) }, ca)
    created.push(new SimulatedNode({ ...common, index, peer: { ...peer, ...issued }, publicKey: publicKeyPem }))
  }
  return created
}

/** A node works as soon as it has joined: it would go offline if it sent no heartbeat while others join. */
async function join(): Promise<void> {
  const waiting = [...nodes]
  const worker = async (): Promise<void> => {
    for (let node = waiting.shift(); node; node = waiting.shift()) {
      await node.join()
      void node.work()
    }
  }
  await Promise.all(Array.from({ length: settings?.joinsAtOnce ?? 1 }, worker))
}
