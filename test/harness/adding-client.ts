import type { Language } from './bilingual-app.ts'

/** A ClientApp that adds a quarter to every weight and reports a loss of 0.5, with secure aggregation or without. */
export function addingClient(language: Language, { isSecure }: { isSecure: boolean }): string {
  return language === 'python' ? pythonClient(isSecure) : typescriptClient(isSecure)
}

const typescriptClient = (isSecure: boolean): string => `import * as sdk from 'trellis-fl'
export const app = new sdk.ClientApp({ mods: [${isSecure ? 'sdk.secureAggregation()' : ''}] }).train((message) => {
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
    arrays = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + 0.25)})
    metrics = MetricRecord({"num-examples": 4, "loss": 0.5})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
`
