/**
 * Apps that write into a file what they have done, outside of the system that is tested. Each round adds one to every weight
 * of the model. All weights are equal, so bytes that are lost or mixed up show.
 */

const note = `
const note = (fields) => appendFileSync(ledger, JSON.stringify({ pid: process.pid, ...fields }) + '\\n')
const same = (values) => {
  for (const value of values) if (value !== values[0]) throw new Error('The model is damaged')
  return values[0]
}
`

/** Saves its state after each round, and asks again if no node has replied with a model. */
export const ledgerServer = `
import { appendFileSync } from 'node:fs'
import { ArrayRecord, ConfigRecord, log, Message, NdArray, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const { state, runConfig } = context
  const ledger = String(runConfig['ledger'])
  ${note}
  const run = String(context.runId)
  if (!state.has('arrays'))
    state.set('arrays', new ArrayRecord({ w: NdArray.from(new Float32Array(Number(runConfig['floats']))) }))
  if (!state.has('progress')) state.set('progress', new ConfigRecord({ round: 0 }))
  const progress = state.config('progress')
  note({ run, started: progress.get('round') })
  for (let round = Number(progress.get('round')) + 1; round <= Number(runConfig['rounds']); round++) {
    log.info(\`line \${process.pid} \${round}\`)
    let good
    while (!good) {
      let nodes = await grid.getNodeIds()
      while (nodes.length < 1) nodes = await grid.getNodeIds({ knownNodes: nodes.length })
      const content = new RecordDict({ arrays: state.arrays('arrays') })
      const messages = nodes.map((dstNodeId) => Message.create({ content, messageType: 'train', dstNodeId }))
      const replies = await grid.sendAndReceive(messages)
      for (const reply of replies)
        note({ run, received: reply.metadata.replyToMessageId, failed: reply.hasError() ? reply.error.reason : undefined })
      good = replies.find((reply) => !reply.hasError())
    }
    const value = same(good.content.arrays('arrays').get('w').values())
    if (value !== round) throw new Error(\`The model has \${value} after round \${round}\`)
    state.set('arrays', good.content.arrays('arrays'))
    progress.set('round', round)
    await grid.saveState(context)
    note({ run, saved: round })
  }
  log.info(\`weights: \${same(state.arrays('arrays').get('w').values())}\`)
})
`

export const ledgerClient = `
import { appendFileSync } from 'node:fs'
import { ArrayRecord, ClientApp, MetricRecord, NdArray, RecordDict } from 'trellis-fl'
export const app = new ClientApp().train(async (message, context) => {
  const ledger = String(context.runConfig['ledger'])
  ${note}
  note({ run: String(context.runId), executed: message.metadata.messageId })
  const before = message.content.arrays('arrays').get('w').values()
  const value = same(before)
  await new Promise((resolve) => setTimeout(resolve, Number(context.runConfig['pause-ms'] ?? 0)))
  const w = NdArray.from(new Float32Array(before.length).fill(value + 1))
  return message.reply(new RecordDict({ arrays: new ArrayRecord({ w }), metrics: new MetricRecord({ 'num-examples': 1 }) }))
})
`

const pythonNote = `import json
import os


def note(context, **fields):
    with open(str(context.run_config["ledger"]), "a") as ledger:
        ledger.write(json.dumps({"pid": os.getpid(), "run": str(context.run_id), **fields}) + "\\n")


def same(values):
    if values.min() != values.max():
        raise ValueError("The model is damaged")
    return int(values[0])
`

export const ledgerServerPython = `import logging
import time
import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.common.logger import log
from flwr.serverapp import ServerApp
${pythonNote}

app = ServerApp()

@app.main()
def main(grid, context):
    w = np.zeros(int(context.run_config["floats"]), dtype=np.float32)
    note(context, started=0)
    for round in range(1, int(context.run_config["rounds"]) + 1):
        log(logging.INFO, "line %s %s", os.getpid(), round)
        good = []
        while not good:
            nodes = list(grid.get_node_ids())
            if not nodes:
                time.sleep(0.1)
                continue
            content = RecordDict({"arrays": ArrayRecord({"w": Array(w)})})
            messages = [Message(content, dst_node_id=node, message_type="train") for node in nodes]
            replies = list(grid.send_and_receive(messages))
            for reply in replies:
                note(context, received=reply.metadata.reply_to_message_id)
            good = [reply for reply in replies if not reply.has_error()]
        w = good[0].content["arrays"]["w"].numpy()
        if same(w) != round:
            raise ValueError(f"The model has {same(w)} after round {round}")
        note(context, finished=round)
    log(logging.INFO, "weights: %s", same(w))
`

export const ledgerClientPython = `import time
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
${pythonNote}

app = ClientApp()

@app.train()
def train(message, context):
    note(context, executed=message.metadata.message_id)
    before = message.content["arrays"]["w"].numpy()
    same(before)
    time.sleep(float(context.run_config.get("pause-ms", 0)) / 1000)
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": ArrayRecord({"w": Array(before + 1)}), "metrics": metrics}), reply_to=message)
`
