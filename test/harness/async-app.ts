import { addingClients } from './adding-client.ts'
import type { Language } from './bilingual-app.ts'
import { writeMixedApp } from './python-apps.ts'

/**
 * An app that trains asynchronously: each node adds a quarter to every weight, and every update counts the same. After four
 * steps the weights are 1 and 11. The ServerApp logs what it knows of the nodes.
 */
const server = `import { ArrayRecord, FedBuff, log, NdArray, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const count = context.config.integer('nodes')
  let nodes = await grid.getNodes()
  while (nodes.length < count) nodes = await grid.getNodes({ knownNodes: nodes.length })
  for (const { name, organization, tags, status, lastSeenAt } of nodes)
    log.info(\`node \${name} of \${organization}: \${JSON.stringify(tags)}, \${status}, seen \${Date.now() - lastSeenAt < 120_000}\`)
  const initial = new ArrayRecord({ w: NdArray.from(new Float32Array([0, 10])) })
  const strategy = new FedBuff({ bufferSize: 2, concurrency: count, staleness: () => 1 })
  const result = await strategy.start(grid, initial, { numUpdates: 4, checkpoint: context })
  const weights = [...result.arrays.getArray('w').values('float32')].map((value) => value.toFixed(3))
  log.info(\`weights: \${weights.join(' ')}, loss: \${result.train.at(4).getNumber('loss').toFixed(3)}\`)
})
`

/** What the run logs at its end. */
export const asyncResult = /weights: 1\.000 11\.000, loss: 0\.500/

/** Writes the app, with a ClientApp in that language or in both. Returns its folder. */
export function writeAsyncApp(folder: string, { client, nodes }: { client: Language | 'both'; nodes: number }): string {
  return writeMixedApp(folder, {
    server: { language: 'typescript', source: server },
    ...addingClients(client, { isSecure: false }),
    config: `nodes = ${nodes}`,
  })
}
