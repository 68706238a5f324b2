import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { askingServer } from '../harness/apps.ts'
import { HttpProxy } from '../harness/http-proxy.ts'
import { MixedFleet } from '../harness/mixed-fleet.ts'
import { eventually, type TestProgram } from '../harness/program.ts'
import { writeMixedApp } from '../harness/python-apps.ts'
import { withoutPython } from '../harness/python-flower.ts'

const startMs = 180_000
/** For 100 MB with a SuperLink killed on the way: Flower's programs wait up to 16 s between their attempts. */
const transferMs = 180_000
const limitMs = 600_000
const releases = ['1.29', '1.41'] as const

/** Sends 100 MB to the one node for each action, and logs how many of the weights come back larger by one. */
const largeServer = `
import { ArrayRecord, log, Message, NdArray, RecordDict, ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid, context) => {
  let nodes = []
  while (nodes.length < 1) {
    nodes = await grid.getNodeIds()
    if (nodes.length < 1) await new Promise((resolve) => setTimeout(resolve, 100))
  }
  const weights = new Float32Array(25e6)
  for (let index = 0; index < weights.length; index++) weights[index] = index % 1000
  for (const action of String(context.runConfig['actions']).split(',')) {
    const content = new RecordDict({ arrays: new ArrayRecord({ w: NdArray.from(weights) }) })
    const [reply] = await grid.sendAndReceive([Message.create({ content, messageType: 'query', dstNodeId: nodes[0] })])
    if (reply.hasError()) log.info(\`\${action}: error \${reply.error.code} \${reply.error.reason}\`)
    else {
      const values = reply.content.arrays('arrays').get('w').values()
      let right = 0
      for (let index = 0; index < weights.length; index++) if (values[index] === weights[index] + 1) right++
      log.info(\`\${action}: \${right} are right\`)
    }
  }
})
`
const largeClient = `from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.query()
def query(message, context):
    w = message.content["arrays"]["w"].numpy() + 1
    return Message(RecordDict({"arrays": ArrayRecord({"w": Array(w)})}), reply_to=message)
`
const slowClient = `import sys, time
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.query()
def query(message, context):
    action = message.content["config"]["action"]
    if action == "hang":
        open(context.run_config["sign"] + str(context.node_id), "w").close()
    time.sleep({"slow": 8, "hang": 70}.get(action, 0))
    return Message(RecordDict(), reply_to=message)
`

/** Bytes that a process has read from files, which on a SuperLink are objects that it hands out. */
function bytesRead({ pid }: TestProgram): number {
  return Number(/rchar: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])
}
const bytesWritten = ({ pid }: TestProgram): number =>
  Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])

// They wait for time-outs of Flower and for 100 MB more than they work.
describe('Python SuperNodes at our SuperLink', { concurrency: true, timeout: limitMs }, () => {
  for (const release of releases) {
    test(`100 MB to and from a SuperNode of Flower ${release} arrive, although the SuperLink is killed amid both, and the SuperNode is`, {
      skip: withoutPython,
      timeout: limitMs,
    }, async () => {
      await using fleet = await MixedFleet.create({
        superlink: 'trellis',
        isolation: 'process',
        getsSignals: true,
        superlinkArguments: ['--enable-supernode-auth'],
      })
      fleet.startSuperexec(fleet.appAddress, 'serverapp')
      const { file } = await fleet.registerKey(release, 'key')
      const join = (): Promise<TestProgram> => fleet.startSupernode(release, ['--auth-supernode-private-key', file])
      let node = await join()
      const app = writeMixedApp(fleet.directory.file('app'), {
        server: { language: 'typescript', source: largeServer },
        client: { language: 'python', source: largeClient },
        config: 'actions = "one,two,three,four"',
      })
      const started = await fleet.flwr('trellis', ['run', app, '--format', 'json'])
      const log = fleet.start('trellis', 'flwr', ['log', String(JSON.parse(started.stdout)['run-id'])])

      const restart = async (): Promise<void> => {
        fleet.superlink.kill('SIGKILL')
        await fleet.superlink.end()
        await fleet.startSuperlink()
      }
      /** Waits until the SuperLink has moved a part of the model. */
      const amid = async (what: 'Receiving' | 'Sending', times: number): Promise<void> => {
        const count = (pattern: string): number => node.said.match(new RegExp(pattern, 'g'))?.length ?? 0
        await eventually(what, () => count(`${what}:`) >= times, transferMs)
        const moved = what === 'Receiving' ? bytesRead : bytesWritten
        const before = moved(fleet.superlink)
        await eventually('a part of the model', () => moved(fleet.superlink) > before + 10e6)
        assert.ok(count(what === 'Receiving' ? 'Received successfully' : 'Sent successfully') < times, 'all was there')
      }
      await amid('Receiving', 1)
      await restart()
      await amid('Sending', 1)
      await restart()
      await node.line(/Sent successfully/, transferMs)

      await amid('Receiving', 2)
      node.kill('SIGKILL')
      await node.end()
      node = await join()
      await node.line(/Sent successfully/, transferMs)

      await amid('Sending', 2)
      node.kill('SIGKILL')
      await node.end()
      node = await join()
      await node.line(/Sent successfully/, transferMs)

      await log.end(transferMs)
      assert.match(log.said, /one: 25000000 are right/)
      assert.match(log.said, /two: 25000000 are right/)
      assert.match(log.said, /three: error 5 .*restarted before it answered/)
      assert.match(log.said, /four: 25000000 are right/)
    })
  }

  test('late answers are refused and a silent SuperNode is given up, of either release, and both work on afterwards', {
    skip: withoutPython,
  }, async () => {
    await using fleet = await MixedFleet.create({ superlink: 'trellis', getsSignals: true })
    const nodes = await Promise.all(releases.map((release) => fleet.startSupernode(release)))
    const sign = fleet.directory.file('hangs-')
    const app = writeMixedApp(fleet.directory.file('app'), {
      server: { language: 'typescript', source: askingServer },
      client: { language: 'python', source: slowClient },
      config: `actions = ""\nttl = 0\nsign = "${sign}"`,
    })
    const ask = async (actions: string, ttl: number): Promise<string> => {
      const options = ['--stream', '--run-config', `actions="${actions}" ttl=${ttl}`]
      return (await fleet.flwr('trellis', ['run', app, ...options])).said
    }
    const count = (said: string, pattern: RegExp): number => said.match(pattern)?.length ?? 0
    const late = await ask('slow', 5)
    assert.equal(count(late, /slow: error 3 /g), 2, late)
    const punctual = await ask('quick', 100)
    assert.equal(count(punctual, /quick: answered/g), 2, punctual)

    const hanging = ask('hang', 600)
    const idOf = (node: TestProgram): string => /SuperNode ID: (\d+)/.exec(node.said)?.[1] ?? ''
    await eventually('both hang', () => nodes.every((node) => existsSync(`${sign}${idOf(node)}`)), startMs)
    for (const node of nodes) node.kill('SIGSTOP')
    try {
      assert.equal(count(await hanging, /hang: error 5 .*heartbeat/g), 2)
    } finally {
      for (const node of nodes) node.kill('SIGCONT')
    }
    const isOnline = async (): Promise<boolean> => {
      const { stdout } = await fleet.flwr('trellis', ['supernode', 'ls', '--format', 'json'])
      const list: Record<string, string>[] = JSON.parse(stdout).nodes
      return list.length === 2 && list.every(({ status }) => status === 'online')
    }
    await eventually('the return of both', isOnline, startMs)
    const afterwards = await ask('quick', 100)
    assert.equal(count(afterwards, /quick: answered/g), 2, afterwards)
  })

  test('of a reply that comes twice one is taken, and of messages whose bytes are others the ServerApp hears, from Flower 1.41', {
    skip: withoutPython,
  }, async () => {
    await using fleet = await MixedFleet.create({ superlink: 'trellis' })
    // The announcement of the first reply and the upload of the second come again; the third instruction and the fourth
    // reply are spoilt on their way.
    let announcements = 0
    let uploads = 0
    let thirdIsSpoilt = false
    let fourthIsSpoilt = false
    await using proxy = await HttpProxy.start(fleet, (route, _before, request) => {
      if (route === 'fleet/push-messages' && announcements++ === 0) return 'lose-answer'
      if (route === 'fleet/push-object' && announcements === 3 && uploads++ === 0) return 'lose-answer'
      if (route === 'fleet/pull-object' && announcements === 3 && !thirdIsSpoilt) {
        thirdIsSpoilt = true
        return { response: spoil }
      }
      if (route === 'fleet/push-object' && announcements === 4 && !fourthIsSpoilt) {
        fourthIsSpoilt = true
        return { request: spoil(request) }
      }
      return undefined
    })
    const node = await fleet.startSupernode('1.41')
    const app = writeMixedApp(fleet.directory.file('app'), {
      server: { language: 'typescript', source: askingServer },
      client: { language: 'python', source: slowClient },
      config: 'actions = "one,two,three,four,five"\nttl = 30',
    })
    const { said } = await fleet.flwr('trellis', ['run', app, '--stream'], transferMs)
    for (const action of ['one', 'two', 'five']) assert.match(said, new RegExp(`${action}: answered`), node.said)
    for (const action of ['three', 'four']) assert.match(said, new RegExp(`${action}: error 3 `), node.said)
    // What was stored and taken up before it came again counts as stored.
    assert.match(node.said, /Failed to receive message/)
    assert.equal(node.said.match(/Failed to send message/g)?.length, 1, node.said)
    const [first, second] = proxy.of('fleet/push-messages')
    assert.deepEqual(second?.request, first?.request)
    assert.deepEqual([first?.status, second?.status], [200, 200])
  })
})

/** One bit in its middle, which is the content of an object, is another. */
function spoil(bytes: Buffer): Buffer {
  const spoilt = Buffer.from(bytes)
  const middle = spoilt.length >> 1
  spoilt[middle] = (spoilt[middle] as number) ^ 1
  return spoilt
}
