import assert from 'node:assert/strict'
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '../../src/base/errors.ts'
import type { NodeId, RunId } from '../../src/base/ids.ts'
import { limits } from '../../src/base/limits.ts'
import { byHash } from '../../src/objects/carried-objects.ts'
import { flattenTree } from '../../src/objects/object-tree.ts'
import { find } from '../../src/superlink/delivery/message-store.ts'
import { findReplyTo } from '../../src/superlink/delivery/replies-to.ts'
import { packMessages } from '../../src/superlink/delivery/whole-messages.ts'
import { deactivateNode, expireNodes, heartbeat } from '../../src/superlink/nodes/nodes.ts'
import { FakeClock } from './fake-clock.ts'
import { randomFrom } from './random.ts'
import { nothing, type OwnMessage, openConnection, SuperlinkCore } from './superlink-core.ts'

/** A SuperNode as this test plays it: what its present life has received, and what any life has confirmed. */
interface PlayedNode {
  readonly key: string
  id: NodeId
  isSilent: boolean
  /** Before it has joined it asks for nothing. */
  isJoining: boolean
  /** Whether its present life has been let in. */
  hasJoined: boolean
  hangUp: () => void
  /** With the life of the SuperLink in which it did. */
  received: Map<Asked, number>
  readonly confirmed: Set<Asked>
}

/** An instruction, and what the ServerApp and the SuperNodes know of its fate. */
interface Asked {
  readonly message: OwnMessage
  readonly run: PlayedRun
  readonly node: PlayedNode
  /** The SuperLink has taken it. */
  isTaken: boolean
  /** Objects that the SuperLink said it has. */
  readonly uploaded: Set<string>
  /** The reply of the node's present life. */
  reply: PlayedReply | undefined
  /** Replies that the SuperLink said it has whole. */
  readonly complete: Set<string>
  /** The reply that the ServerApp has got. */
  answer: string | undefined
  isAnswerConfirmed: boolean
}

interface PlayedReply {
  readonly message: OwnMessage
  /** Objects that the SuperLink asked for; absent until it has taken the reply. */
  missing: Set<string> | undefined
}

/** A message that a SuperNode sends unasked, and what both ends know of its fate. */
interface PlayedNote {
  readonly message: OwnMessage
  readonly run: PlayedRun
  readonly node: PlayedNode
  /** Objects that the SuperLink asked for; absent until it has taken the message, and after the node has started anew. */
  missing: Set<string> | undefined
  /** The SuperLink said that it has the message whole. */
  isComplete: boolean
  isReceived: boolean
  isConfirmed: boolean
  /** The SuperLink has heard that. */
  isTaken: boolean
}

interface PlayedRun {
  readonly runId: RunId
  isStopped: boolean
}

/** Gets the life of the SuperLink in which it begins: it hears nothing that is said after that. */
type Move = (life: number) => Promise<void>

/**
 * ServerApps and SuperNodes that do what they may in random order, several things at once, at a SuperLink that is killed
 * now and then. What was promised is compared with what becomes of it after every step.
 */
export class DeliveryWorld {
  readonly clock = new FakeClock()
  readonly #random: (below: number) => number
  readonly #folder: string
  #core: SuperlinkCore
  /** Counts the lives of the SuperLink: what a former life says is not heard any more. */
  #life = 0
  readonly #runs: PlayedRun[] = []
  readonly #nodes: PlayedNode[] = []
  readonly #asked: Asked[] = []
  readonly #notes: PlayedNote[] = []
  readonly steps: string[] = []

  private constructor(seed: number, folder: string, core: SuperlinkCore, clock: FakeClock) {
    this.#random = randomFrom(seed)
    this.#folder = folder
    this.#core = core
    this.clock = clock
  }

  static async create(seed: number, folder: string): Promise<DeliveryWorld> {
    const clock = new FakeClock()
    mkdirSync(join(folder, '0'), { recursive: true })
    const core = await SuperlinkCore.start({ folder: join(folder, '0'), clock })
    const world = new DeliveryWorld(seed, folder, core, clock)
    for (let index = 0; index < 3; index++) {
      const { connection, close } = openConnection(index)
      const id = await core.join(`node-${index}`, { connection })
      const node = { key: `node-${index}`, id, isSilent: false, isJoining: false, hasJoined: true, hangUp: close }
      world.#nodes.push({ ...node, received: new Map(), confirmed: new Set() })
    }
    for (let index = 0; index < 2; index++) await world.#startRun()
    return world
  }

  /** Some moves at once; the SuperLink may be killed amid them. */
  async step(): Promise<void> {
    const moves = Array.from({ length: 1 + this.#random(4) }, () => this.#pick())
    const life = this.#life
    const running = Promise.allSettled(moves.map((move) => this.#make(move, life)))
    if (this.#random(25) === 0) await this.#kill()
    for (const outcome of await running) if (outcome.status === 'rejected') throw outcome.reason
    if (this.#life !== life) await this.#reopen()
    this.#check()
  }

  /** Everything that is still open comes to its end, and nothing is left. */
  async end(): Promise<void> {
    for (const run of this.#runs.filter(({ isStopped }) => !isStopped)) {
      await this.#collectAll(this.#life, run)
      this.#checkNotes(run)
      this.clock.advance(100_000)
      await expireNodes(this.#core.ctx)
      const open = this.#asked.filter((asked) => asked.run === run && asked.isTaken && !asked.isAnswerConfirmed)
      const ids = open.map(({ message }) => message.messageId)
      await this.#collect(this.#life, run, open, { all: true })
      await this.#collectAll(this.#life, run)
      for (const note of this.#notes.filter((one) => one.run === run && one.isReceived))
        await this.#confirmNote(this.#life, note)
      assert.deepEqual(
        open.filter(({ answer }) => answer === undefined).map(({ message }) => message.messageId),
        [],
        `of ${ids.length} instructions, these have no answer`,
      )
      for (const asked of open) await this.#confirmAnswer(asked)
      this.#check()
      await this.#core.stop(run.runId)
    }
    assert.deepEqual(await this.#core.leftovers(), nothing)
  }

  async close(): Promise<void> {
    await this.#core[Symbol.asyncDispose]()
  }

  async #startRun(life = this.#life): Promise<void> {
    await this.#hear(life, this.#core.run(), ({ runId }) => this.#runs.push({ runId, isStopped: false }))
  }

  #pick(): Move {
    const moves: readonly (readonly [number, string, () => Move | undefined])[] = [
      [6, 'push', () => this.#push()],
      [14, 'upload', () => this.#upload()],
      [10, 'claim', () => this.#claim()],
      [3, 'claim that hangs up', () => this.#claim(this.#random(40))],
      [6, 'confirm', () => this.#confirm()],
      [8, 'reply', () => this.#reply()],
      [14, 'upload of a reply', () => this.#uploadReply()],
      [6, 'collect', () => this.#collectSome()],
      [4, 'confirm of a reply', () => this.#confirmSome()],
      [4, 'unasked message', () => this.#note()],
      [8, 'upload of an unasked message', () => this.#uploadNote()],
      [3, 'collect all', () => this.#collectEverything()],
      [3, 'confirm of an unasked message', () => this.#confirmSomeNote()],
      [2, 'restart of a node', () => this.#restart()],
      [1, 'leave', () => this.#leave()],
      [1, 'silence', () => this.#silence()],
      [3, 'time', () => this.#pass()],
      [1, 'stop', () => this.#stop()],
    ]
    for (;;) {
      let draw = this.#random(moves.reduce((sum, [weight]) => sum + weight, 0))
      const [, name, choose] = moves.find(([weight]) => {
        draw -= weight
        return draw < 0
      }) as (typeof moves)[number]
      const move = choose()
      if (!move) continue
      this.steps.push(name)
      return move
    }
  }

  /** Refusals that a peer must expect are no faults. */
  async #make(move: Move, life: number): Promise<void> {
    try {
      await move(life)
    } catch (error) {
      const isExpected = error instanceof DomainError && (expected.has(error.code) || isOverdue(error))
      if (!isExpected && this.#life === life) throw error
    }
  }

  #one<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.#random(items.length)]
  }

  /** Runs `note` with what the SuperLink said, if it was heard. */
  async #hear<T>(life: number, call: Promise<T>, note: (said: T) => unknown): Promise<void> {
    const said = await call
    if (life === this.#life) note(said)
  }

  #push(): Move | undefined {
    const run = this.#one(this.#runs.filter(({ isStopped }) => !isStopped))
    if (!run || this.#asked.filter((asked) => asked.run === run && !asked.isAnswerConfirmed).length > 12)
      return undefined
    const wanted = Array.from({ length: 1 + this.#random(3) }, () => ({
      node: this.#one(this.#nodes) as PlayedNode,
      bytes: this.#random(3) === 0 ? 40_000 : 16,
      ttl: 20 + this.#random(400),
    }))
    const carries = this.#random(3) === 0
    return (life) => {
      const batch = wanted.map(({ node, ...options }): Asked => {
        const message = this.#core.instruction(run.runId, node.id, options)
        const fate = { isTaken: false, uploaded: new Set<string>(), reply: undefined, complete: new Set<string>() }
        return { message, run, node, ...fate, answer: undefined, isAnswerConfirmed: false }
      })
      this.#asked.push(...batch)
      const messages = batch.map(({ message }) => message)
      return this.#hear(life, this.#core.push(run.runId, messages, { upload: false, carries }), ({ messageIds }) => {
        batch.forEach((asked, index) => {
          asked.isTaken = messageIds[index] === asked.message.messageId
          if (carries) for (const id of asked.message.deflated.objects.keys()) asked.uploaded.add(id)
        })
      })
    }
  }

  #upload(): Move | undefined {
    const asked = this.#one(
      this.#asked.filter((one) => one.isTaken && one.uploaded.size < one.message.deflated.objects.size),
    )
    if (!asked) return undefined
    const { objects } = asked.message.deflated
    const id = this.#one([...objects.keys()].filter((one) => !asked.uploaded.has(one))) as string
    return (life) =>
      this.#hear(life, this.#core.ctx.objects.put(id, (objects.get(id) as () => Uint8Array)()), (outcome) => {
        if (outcome === 'stored') asked.uploaded.add(id)
      })
  }

  /** `hangsUpAfter`: turns of the event loop's queue after which the connection breaks. */
  #claim(hangsUpAfter?: number): Move | undefined {
    const node = this.#one(this.#nodes.filter(({ isSilent }) => !isSilent))
    if (!node) return undefined
    return async (life) => {
      if (node.isJoining) return
      const { received } = node
      const confirmed = new Set(node.confirmed)
      const answered = new Set(this.#asked.filter(({ answer }) => answer !== undefined))
      const hangUp = new AbortController()
      const claiming = this.#core.claim(node.id, hangUp.signal, this.#random(2) === 0)
      for (let turn = 0; turn < (hangsUpAfter ?? 0); turn++) await Promise.resolve()
      if (hangsUpAfter !== undefined) hangUp.abort()
      await this.#hear(life, claiming, (message) => {
        // Said to a process that is gone, or over a connection that has broken.
        if (!message || received !== node.received || hangUp.signal.aborted) return
        const asked = this.#asked.find((one) => one.message.messageId === message.metadata.messageId)
        assert.ok(asked, 'a node receives what was never pushed')
        assert.equal(asked.node, node, 'a node receives what is for another')
        assert.notEqual(received.get(asked), life, 'a node receives an instruction twice')
        assert.ok(!confirmed.has(asked), 'a node receives what it has confirmed')
        assert.ok(!answered.has(asked), 'a node receives what is answered')
        received.set(asked, life)
      })
    }
  }

  #confirm(): Move | undefined {
    const node = this.#one(this.#nodes)
    const asked = node && this.#one([...node.received.keys()].filter((one) => !node.confirmed.has(one)))
    if (!node || !asked) return undefined
    return async (life) => {
      const ids = flattenTree(asked.message.deflated.tree)
      const objects = await Promise.all(ids.map((id) => this.#core.ctx.objects.get(id)))
      // Early confirmations have tests of their own.
      if (objects.some((object) => !object?.content)) return
      await this.#hear(life, this.#core.confirm(asked.message), () => node.confirmed.add(asked))
    }
  }

  #reply(): Move | undefined {
    const node = this.#one(this.#nodes)
    const asked = node && this.#one([...node.received.keys()])
    if (!node || !asked) return undefined
    const bytes = this.#random(3) === 0 ? 40_000 : 16
    const carries = this.#random(3) === 0
    return async (life) => {
      if (asked.message.metadata.createdAt + asked.message.metadata.ttl <= this.clock.now() / 1000) return
      const { received } = node
      asked.reply ??= { message: this.#core.replyTo(asked.message, { bytes }), missing: undefined }
      const { reply } = asked
      // An upload that is under way belongs to the announcement before.
      reply.missing = undefined
      await this.#hear(
        life,
        this.#core.reply(reply.message, { upload: false, carries }),
        ({ accepted, objectsToPush }) => {
          // Said to a process that is gone.
          if (received !== node.received) return
          reply.missing = accepted ? new Set(objectsToPush) : undefined
          if (accepted && objectsToPush.length === 0) asked.complete.add(reply.message.messageId)
        },
      )
    }
  }

  #uploadReply(): Move | undefined {
    const asked = this.#one(this.#asked.filter(({ reply }) => (reply?.missing?.size ?? 0) > 0))
    const reply = asked?.reply
    const id = reply?.missing && this.#one([...reply.missing])
    if (!asked || !reply || id === undefined) return undefined
    const bytes = (reply.message.deflated.objects.get(id) as () => Uint8Array)()
    const { missing } = reply
    const upload = async () => {
      const outcome = await this.#core.uploadObject(reply.message, id, bytes)
      return { outcome, isWhole: (await this.#core.stateOf(reply.message)) === 'offered' }
    }
    return (life) =>
      this.#hear(life, upload(), ({ outcome, isWhole }) => {
        if (reply.missing !== missing) return
        // It is not known any more: a SuperNode announces the reply anew.
        if (outcome === 'unknown') reply.missing = undefined
        // An error may have come before its last object, which another message of the node may need, too.
        else if (missing?.delete(id) && missing.size === 0 && isWhole) asked.complete.add(reply.message.messageId)
      })
  }

  #collectSome(): Move | undefined {
    const run = this.#one(this.#runs.filter(({ isStopped }) => !isStopped))
    const open = this.#asked.filter((asked) => asked.run === run && asked.isTaken && !asked.isAnswerConfirmed)
    if (!run || open.length === 0) return undefined
    return (life) => this.#collect(life, run, open, {})
  }

  async #collect(life: number, run: PlayedRun, open: readonly Asked[], options: { all?: boolean }): Promise<void> {
    const ids = open.map(({ message }) => message.messageId)
    const bytesMax = this.#random(2) === 0 ? 0 : limits.carriedBytesMax
    const replies = await this.#core.collect(run.runId, ids, options)
    const { messages, objects } = await packMessages(this.#core.ctx, replies, { bytesMax })
    if (life !== this.#life) return
    const atHand = byHash(objects)
    for (const { metadata, tree } of messages) {
      const asked = open.find(({ message }) => message.messageId === metadata.replyToMessageId)
      // Confirmed by another call in the meantime.
      if (!asked || asked.isAnswerConfirmed || run.isStopped) continue
      assert.equal(asked.answer ?? metadata.messageId, metadata.messageId, 'an instruction has two replies')
      asked.answer = metadata.messageId
      for (const id of flattenTree(tree)) {
        const content = atHand.get(id) ?? (await this.#core.ctx.objects.get(id))?.content
        const isGone: boolean = !content && !asked.isAnswerConfirmed && !run.isStopped && life === this.#life
        assert.ok(!isGone, 'an object of an answer is lost')
      }
    }
  }

  #confirmSome(): Move | undefined {
    const asked = this.#one(
      this.#asked.filter((one) => one.answer !== undefined && !one.isAnswerConfirmed && !one.run.isStopped),
    )
    return asked && (() => this.#confirmAnswer(asked))
  }

  async #confirmAnswer(asked: Asked): Promise<void> {
    const { runId } = asked.run
    const metadata = { ...asked.message.metadata, runId, replyToMessageId: asked.message.messageId }
    // From the moment of the call: the SuperLink may have heard it, whatever becomes of its response.
    asked.isAnswerConfirmed = true
    await this.#core.confirm({ ...asked.message, messageId: asked.answer as string, metadata })
  }

  /** A node that works for a run sends something unasked, or says it again. */
  #note(): Move | undefined {
    const asked = this.#one(this.#asked.filter(({ isTaken, run }) => isTaken && !run.isStopped))
    if (!asked) return undefined
    const { node, run } = asked
    const again = this.#one(this.#notes.filter((note) => note.node === node && note.run === run))
    const options = { bytes: this.#random(3) === 0 ? 40_000 : 16 }
    const isRepeated = this.#random(3) === 0
    return async (life) => {
      if (node.isJoining) return
      const note = (isRepeated && again) || {
        ...{ message: this.#core.unprompted(run.runId, node.id, { ...options, ttl: 1_000_000 }), run, node },
        ...{ missing: undefined, isComplete: false, isReceived: false, isConfirmed: false, isTaken: false },
      }
      if (!this.#notes.includes(note)) this.#notes.push(note)
      const { received } = node
      note.missing = undefined
      await this.#hear(life, this.#core.sendUnprompted(note.message, { upload: false }), ({ objectsToPush }) => {
        if (received !== node.received) return
        note.missing = new Set(objectsToPush)
        if (objectsToPush.length === 0) note.isComplete = true
      })
    }
  }

  #uploadNote(): Move | undefined {
    const note = this.#one(this.#notes.filter(({ missing }) => (missing?.size ?? 0) > 0))
    const { missing } = note ?? {}
    const id = missing && this.#one([...missing])
    if (!note || !missing || id === undefined) return undefined
    const bytes = (note.message.deflated.objects.get(id) as () => Uint8Array)()
    return (life) =>
      this.#hear(life, this.#core.uploadObject(note.message, id, bytes), (outcome) => {
        if (note.missing !== missing) return
        // It is not known any more: a SuperNode announces the message anew.
        if (outcome === 'unknown') note.missing = undefined
        else if (missing.delete(id) && missing.size === 0) note.isComplete = true
      })
  }

  #collectEverything(): Move | undefined {
    const run = this.#one(this.#runs.filter(({ isStopped }) => !isStopped))
    return run && ((life) => this.#collectAll(life, run))
  }

  async #collectAll(life: number, run: PlayedRun): Promise<void> {
    const confirmed = new Set(this.#notes.filter(({ isTaken }) => isTaken))
    const messages = await this.#core.collectAll(run.runId)
    if (life !== this.#life) return
    for (const { metadata, tree } of messages.filter((one) => one.metadata.replyToMessageId === '')) {
      const note = this.#notes.find(({ message }) => message.messageId === metadata.messageId)
      assert.ok(note, 'a ServerApp receives what no node has sent')
      assert.equal(note.run, run, 'a ServerApp receives a message to another run')
      assert.ok(!confirmed.has(note), 'a ServerApp receives an unasked message that it has confirmed')
      note.isReceived = true
      for (const id of flattenTree(tree)) {
        const object = await this.#core.ctx.objects.get(id)
        const isGone: boolean = !object?.content && !note.isConfirmed && !run.isStopped && life === this.#life
        assert.ok(!isGone, 'an object of an unasked message is lost')
      }
    }
  }

  #confirmSomeNote(): Move | undefined {
    const note = this.#one(
      this.#notes.filter(({ isReceived, isConfirmed, run }) => isReceived && !isConfirmed && !run.isStopped),
    )
    return note && ((life) => this.#confirmNote(life, note))
  }

  async #confirmNote(life: number, note: PlayedNote): Promise<void> {
    note.isConfirmed = true
    await this.#hear(life, this.#core.confirm(note.message), () => {
      note.isTaken = true
    })
  }

  #checkNotes(run: PlayedRun): void {
    const lost = this.#notes.filter((note) => note.run === run && note.isComplete && !note.isReceived)
    assert.deepEqual(
      lost.map(({ message }) => message.messageId),
      [],
      'unasked messages that were stored whole are lost',
    )
  }

  #restart(): Move | undefined {
    const node = this.#one(this.#nodes)
    if (!node) return undefined
    return async (life) => {
      node.hangUp()
      const { connection, close } = openConnection()
      Object.assign(node, { hangUp: close, received: new Map(), isSilent: false, isJoining: true, hasJoined: false })
      for (const asked of this.#asked.filter((one) => one.node === node)) {
        if (asked.reply) asked.reply.missing = undefined
        asked.reply = undefined
      }
      for (const note of this.#notes.filter((one) => one.node === node)) note.missing = undefined
      try {
        await this.#hear(life, this.#core.join(node.key, { connection }), () => {
          node.hasJoined = true
        })
      } finally {
        node.isJoining = false
      }
    }
  }

  #leave(): Move | undefined {
    const node = this.#one(this.#nodes)
    return node && (() => deactivateNode(this.#core.ctx, node.id))
  }

  #silence(): Move | undefined {
    const node = this.#one(this.#nodes)
    if (!node) return undefined
    return async () => {
      node.isSilent = !node.isSilent
    }
  }

  #pass(): Move | undefined {
    const ms = 1000 * (1 + this.#random(40))
    return async () => {
      const { ctx } = this.#core
      this.clock.advance(ms)
      for (const { id, isSilent } of this.#nodes) if (!isSilent) await heartbeat(ctx, id, 30_000)
      await expireNodes(ctx)
    }
  }

  #stop(): Move | undefined {
    const run = this.#one(this.#runs.filter(({ isStopped }) => !isStopped))
    if (!run) return undefined
    return async (life) => {
      run.isStopped = true
      await this.#core.stop(run.runId)
      if (life === this.#life) await this.#startRun(life)
    }
  }

  /** What is on disk at this moment is all that the next life has. */
  async #kill(): Promise<void> {
    for (let turn = this.#random(30); turn > 0; turn--) await (turn % 3 === 0 ? new Promise(setImmediate) : undefined)
    const folder = (life: number) => join(this.#folder, String(life))
    this.steps.push('kill')
    copyFolder(folder(this.#life), folder(this.#life + 1))
    this.#life += 1
  }

  async #reopen(): Promise<void> {
    await this.#core[Symbol.asyncDispose]()
    this.#core = await SuperlinkCore.start({ folder: join(this.#folder, String(this.#life)), clock: this.clock })
    for (const run of this.#runs) {
      const row = await this.#core.ctx.db.read
        .selectFrom('task')
        .select('status')
        .where('run_id', '=', run.runId)
        .executeTakeFirst()
      run.isStopped = row?.status === 'finished'
    }
    await this.#checkWaiting()
    // Both ends ask again for what they did not hear the answer to.
    for (const asked of this.#asked) if (asked.reply) asked.reply.missing = undefined
    for (const note of this.#notes) note.missing = undefined
  }

  /** A response that a kill cut off must not be the only one: what its node has not heard of waits for it. */
  async #checkWaiting(): Promise<void> {
    for (const { message, node } of this.#asked) {
      const stored = await find(this.#core.ctx.db.read, message.messageId)
      // A node whose start was cut off joins once more, and gets everything again then.
      if (
        !stored ||
        !node.hasJoined ||
        stored.state === 'answered' ||
        [...node.received.keys()].some((one) => one.message === message)
      )
        continue
      // A former process of the node may have begun to reply after its next one had joined: then the reply stalls and fails.
      if (await findReplyTo(this.#core.ctx.db.read, message.messageId)) continue
      assert.notEqual(stored.state, 'fetched', 'a message that its node never received waits for it no more')
    }
  }

  #check(): void {
    for (const { answer, complete, run } of this.#asked) {
      if (run.isStopped || answer === undefined) continue
      assert.ok(complete.size === 0 || complete.has(answer), 'a reply that was stored whole is lost')
    }
  }
}

/** Other threads move files of uploads meanwhile: a copy that one of them disturbs is begun again. */
function copyFolder(from: string, to: string): void {
  for (let attempt = 1; ; attempt++) {
    try {
      cpSync(from, to, { recursive: true })
      return
    } catch (error) {
      if (attempt === 10 || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      rmSync(to, { recursive: true, force: true })
    }
  }
}

/** Its message expired between the look at the clock and the call. */
const isOverdue = ({ code, message }: DomainError): boolean =>
  code === 'invalid-request' && message.endsWith('the message has expired.')

const expected = new Set(['run-not-running', 'run-finished', 'node-not-deactivated', 'node-not-activated'])
