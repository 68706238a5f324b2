import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { addingClients } from './adding-client.ts'
import type { Language } from './bilingual-app.ts'
import { writeMixedApp } from './python-apps.ts'

/**
 * An app with secure aggregation: each node adds a quarter to every weight, and reports a loss of 0.5. After two rounds the
 * weights are 0.5 and 10.5.
 */
const server = `import { ArrayRecord, FedAvg, log, NdArray, SecureAggregation, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const nodes = Number(context.runConfig.nodes)
  const inner = new FedAvg({ fractionEvaluate: 0, minAvailableNodes: nodes, minTrainNodes: nodes })
  const initial = new ArrayRecord({ w: NdArray.from(new Float32Array([0, 10])) })
  const result = await new SecureAggregation(inner, { maxWeight: 10 }).start(grid, initial, { numRounds: 2 })
  const weights = [...result.arrays.getArray('w').values('float32')].map((value) => value.toFixed(3))
  log.info(\`weights: \${weights.join(' ')}, loss: \${result.trainMetricsClientapp.get(2)?.getNumber('loss').toFixed(3)}\`)
})
`

/** What the run logs at its end. */
export const secureResult = /weights: 0\.500 10\.500, loss: 0\.500/

/** Writes the app, with a ClientApp in that language or in both. Returns its folder. */
export function writeSecureApp(
  folder: string,
  { client, nodes }: { client: Language | 'both'; nodes: number },
): string {
  const app = writeMixedApp(folder, {
    server: { language: 'typescript', source: server },
    ...addingClients(client, { isSecure: true }),
    config: `nodes = ${nodes}`,
  })
  const mod = join(import.meta.dirname, '../../examples/secure-aggregation/secure_aggregation.py')
  if (client !== 'typescript') copyFileSync(mod, join(app, 'app', 'secure_aggregation.py'))
  return app
}
