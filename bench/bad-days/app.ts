/**
 * Sends a small model to all SuperNodes that are online, and waits for the replies of so many of them. Reports each round on
 * a line.
 */
export const badDaysServer = `
import { ArrayRecord, Message, NdArray, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  const number = (name) => Number(context.runConfig[name])
  const rounds = number('rounds')
  for (let round = 1; round <= rounds; round++) {
    const expected = round > number('calm-rounds') ? number('steady') : number('nodes')
    let nodeIds = await grid.getNodeIds()
    while (nodeIds.length < expected) nodeIds = await grid.getNodeIds({ knownNodes: nodeIds.length })
    console.log('bench: round ' + round + ' begins')
    const startedAt = performance.now()
    const arrays = new ArrayRecord({ w: NdArray.from(new Float32Array(1024).fill(round)) })
    const messages = nodeIds.map((dstNodeId) =>
      Message.create({ content: new RecordDict({ arrays }), dstNodeId, messageType: 'train', groupId: String(round) }),
    )
    const replies = await grid.sendAndReceive(messages, { enough: expected, timeoutSeconds: number('round-seconds') })
    const good = replies.filter((reply) => reply.error === undefined).length
    const ms = (performance.now() - startedAt).toFixed(1)
    console.log('bench: round ' + round + ' has ' + good + ' of ' + expected + ' replies after ' + ms + ' ms')
    await grid.dropLateReplies()
    await new Promise((resolve) => setTimeout(resolve, number('pause-ms')))
  }
})
`
