import type { Language } from './bilingual-app.ts'
import type { MixedAppSources } from './python-apps.ts'

/** ClientApps that add a quarter to every weight, report a loss of 0.5 and print their language. */
export function addingClients(
  language: Language | 'both',
  { isSecure }: { isSecure: boolean },
): Pick<MixedAppSources, 'client' | 'twin'> {
  const typescript = typescriptClient(isSecure)
  if (language === 'typescript') return { client: { language, source: typescript } }
  const client = { language: 'python', source: pythonClient(isSecure) } as const
  return language === 'both' ? { client, twin: typescript } : { client }
}

const typescriptClient = (isSecure: boolean): string => `import * as sdk from 'trellis-fl'
export const app = new sdk.ClientApp({ mods: [${isSecure ? 'sdk.secureAggregation()' : ''}] }).train((message) => {
  console.log('trained in typescript')
  const before = message.content.arrays('arrays').getArray('w').values('float32')
  const arrays = new sdk.ArrayRecord({ w: sdk.NdArray.from(before.map((value) => value + 0.25)) })
  return message.reply(new sdk.RecordDict({ arrays, metrics: new sdk.MetricRecord({ 'num-examples': 4, loss: 0.5 }) }))
})
`

const pythonClient = (
  isSecure: boolean,
): string => `from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
${isSecure ? 'from .secure_aggregation import secure_aggregation_mod' : ''}

app = ClientApp(mods=[${isSecure ? 'secure_aggregation_mod' : ''}])

@app.train()
def train(message, context):
    print("trained in python")
    arrays = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + 0.25)})
    metrics = MetricRecord({"num-examples": 4, "loss": 0.5})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
`
