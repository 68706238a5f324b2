import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ClientAppHost, PlayedApp, serveApps } from '../../test/harness/app-hosts.ts'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { InMemorySupernode, type Line } from '../../test/harness/in-memory-supernode.ts'
import { nothing, type OwnMessage, SuperlinkCore, settled } from '../../test/harness/superlink-core.ts'

/** A run at our SuperLink, and a SuperNode of ours behind a line that can be killed. Time passes while the test waits. */
async function setUp(line: Line) {
  const superlink = await SuperlinkCore.start({
    settings: { requireCertificates: true },
    clock: new FakeClock(Date.now()),
  })
  const { runId } = await superlink.run()
  let supernode = await InMemorySupernode.join(superlink, 'site-1', line)
  const { nodeId } = supernode
  const host = (): ClientAppHost => ({ superlink, runId, nodeId, ...serveApps(supernode) })
  /** Goes on until it is done: the SuperNode asks every few seconds if it cannot wait for an answer. */
  const until = async <T>(work: Promise<T>): Promise<T> => {
    let isDone = false
    const done = work.finally(() => {
      isDone = true
    })
    const endsAt = performance.now() + 120_000
    while (!isDone && performance.now() < endsAt) {
      await superlink.beat(nodeId)
      superlink.clock.advanceToNext(3000)
      await settled(2)
    }
    return done
  }
  const ask = async (): Promise<OwnMessage> => {
    const asked = superlink.instruction(runId, nodeId)
    await superlink.push(runId, [asked])
    return asked
  }
  const launch = () => until(PlayedApp.launch(host()))
  const reply = async (app: PlayedApp, asked: OwnMessage): Promise<void> => {
    const { context } = await app.call('pullTaskInput', {})
    await app.reply(host(), superlink.replyTo(asked))
    await app.call('pushTaskOutput', { subStatus: 'completed', ...(context ? { context } : {}) })
  }
  const answerTo = ({ messageId }: OwnMessage) => until(superlink.collect(runId, [messageId], { waitMs: 60_000 }))
  return {
    ...{ superlink, runId, nodeId, until, ask, launch, reply, answerTo },
    async restart() {
      await supernode[Symbol.asyncDispose]()
      supernode = await InMemorySupernode.join(superlink, 'site-1', line)
    },
    tasks: () => supernode.ctx.db.read.selectFrom('task').selectAll().execute(),
    async [Symbol.asyncDispose]() {
      await supernode[Symbol.asyncDispose]()
      await superlink[Symbol.asyncDispose]()
    },
  }
}

for (const line of ['whole', 'without our headers', 'without our headers and fields'] as const) {
  test(`over a line that is ${line}, a run ends right though its SuperNode is killed while it trains`, async () => {
    await using world = await setUp(line)
    const { superlink, runId, until, ask, launch, reply, answerTo, restart, tasks } = world
    const first = await ask()
    await reply(await launch(), first)
    assert.equal((await answerTo(first))[0]?.error, undefined)

    const second = await ask()
    const app = await launch()
    await app.call('pullTaskInput', {})
    const isTakenForFlower = line === 'without our headers and fields'
    const received = isTakenForFlower ? 'held' : 'fetched'
    await until(
      (async () => {
        while ((await superlink.stateOf(second)) !== received) await settled(1)
      })(),
    )
    await restart()
    // Either its node gets it again, or its ServerApp gets an error reply: nothing waits.
    if (!isTakenForFlower) await reply(await launch(), second)
    const [answer] = await answerTo(second)
    const reason = isTakenForFlower ? /The SuperNode was restarted before it answered/ : /^$/
    assert.match(answer?.error?.reason ?? '', reason)

    const third = await ask()
    await reply(await launch(), third)
    assert.equal((await answerTo(third))[0]?.error, undefined)
    assert.deepEqual(await tasks(), [], 'an instruction is executed twice')
    await superlink.stop(runId)
    assert.deepEqual(await superlink.leftovers(), nothing)
  })
}
