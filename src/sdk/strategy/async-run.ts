import { type Clock, systemClock } from '../../base/clock.ts'
import { errorCodes, Message } from '../../message/message.ts'
import { type ArrayRecord, ConfigRecord, type MetricRecord, RecordDict } from '../../message/records.ts'
import type { Grid, NodeInfo, Progress } from '../grid.ts'
import { log } from '../log.ts'
import { NodeHistory, numbersOf } from '../selection/node-history.ts'
import { AggregationError } from './aggregation-error.ts'
import { reasonAt } from './asking.ts'
import { Checkpoint } from './checkpoint.ts'
import type { AsyncStartOptions, FedBuff, UpdateBuffer } from './fed-buff.ts'
import type { Result } from './result.ts'
import { beforeRounds, endOfRound, evaluateGlobally } from './round-end.ts'
import { logEnd } from './run-log.ts'
import { sampled } from './sample.ts'

/** How long replies are waited for before the nodes are looked at again. */
const lookMs = 10_000
/** How often nodes are looked for while none is there. */
const pollMs = 500
/** The shortest time between two questions that a server does not hold. */
const pauseMs = 3000
/** How often all nodes may fail before the training fails, and how long to wait in between. */
const attemptsMax = 3
const attemptPauseMs = 10_000

/** A node that trains. */
interface Task {
  readonly nodeId: bigint
  readonly name: string | undefined
  /** The step of the model that it has received. */
  readonly version: number
  /** The model that it has received; `undefined` once its update would be too old to be used. */
  readonly received: ArrayRecord | undefined
  readonly askedAt: number
}

/**
 * One call of `start` of an asynchronous strategy: keeps nodes busy, and makes a step of the model whenever the buffer is
 * full. A node that fails or leaves is replaced by another one; it is asked again after the next step.
 */
export class AsyncRun {
  readonly #strategy: FedBuff
  readonly #grid: Grid
  readonly #limits: { readonly updates: number; readonly timeoutSeconds: number }
  readonly #options: AsyncStartOptions
  readonly #result: Result
  readonly #clock: Clock
  readonly #history = new NodeHistory()
  readonly #checkpoint: Checkpoint | undefined
  /** By the id of the message. */
  readonly #tasks = new Map<string, Task>()
  /** Nodes that have failed since the last step, with the reason. */
  readonly #failed = new Map<bigint, string>()
  /** How often all nodes have failed since the last update of a node. */
  #attempts = 0
  #update = 0
  #buffer: UpdateBuffer

  constructor(
    strategy: FedBuff,
    grid: Grid,
    limits: { updates: number; timeoutSeconds: number },
    options: AsyncStartOptions,
    result: Result,
  ) {
    this.#strategy = strategy
    this.#grid = grid
    this.#limits = limits
    this.#options = options
    this.#result = result
    this.#clock = grid.clock ?? systemClock
    this.#buffer = strategy.buffer()
    const history = this.#history
    this.#checkpoint = options.checkpoint && new Checkpoint(grid, options.checkpoint, { strategy, result, history })
  }

  async toEnd(): Promise<Result> {
    const startedAt = performance.now()
    const { last, stopped } = this.#checkpoint?.restore() ?? { last: 0, stopped: false }
    this.#update = last
    await beforeRounds(last, this.#result, this.#options.evaluateFn)
    for (let stops = stopped; !stops && this.#update < this.#limits.updates; ) {
      await this.#keepBusy()
      stops = await this.#takeReplies()
      this.#giveUpSlow()
    }
    if (this.#tasks.size > 0) log.info(`\t> The replies of ${this.#tasks.size} nodes that still train are not used`)
    logEnd(this.#result, performance.now() - startedAt)
    return this.#result
  }

  /** Sends the newest model to idle nodes, until as many train as are wanted. Waits while no node can train. */
  async #keepBusy(): Promise<void> {
    const endsAt = this.#clock.now() + this.#limits.timeoutSeconds * 1000
    for (let isFirst = true; ; isFirst = false) {
      const free = this.#strategy.concurrency - this.#tasks.size
      const idle = free > 0 ? await this.#idleNodes() : []
      if (idle.length > 0) await this.#send(sampled(idle, Math.min(free, idle.length)))
      if (this.#tasks.size > 0) return
      if (this.#failed.size > 0) {
        await this.#waitAfterFailure()
        continue
      }
      if (isFirst) log.info('Waiting for nodes to connect.')
      if (this.#clock.now() >= endsAt)
        throw new AggregationError(
          `No node was there to train for ${this.#limits.timeoutSeconds} s: start SuperNodes, or check what select chooses.`,
        )
      await this.#clock.sleep(pollMs)
    }
  }

  /** All nodes have failed: they are asked again after a pause, a few times. */
  async #waitAfterFailure(): Promise<void> {
    const [[nodeId, reason] = []] = this.#failed
    this.#attempts++
    if (this.#attempts >= attemptsMax)
      throw new AggregationError(`No node could train for update ${this.#update + 1}. Node ${nodeId}: ${reason}`)
    await this.#clock.sleep(attemptPauseMs)
    this.#failed.clear()
  }

  async #idleNodes(): Promise<readonly NodeInfo[]> {
    const busy = new Set([...this.#tasks.values()].map(({ nodeId }) => nodeId))
    const nodes = (await this.#grid.getNodes()).filter(({ nodeId }) => !busy.has(nodeId) && !this.#failed.has(nodeId))
    // While others train, the policy may leave out all that are idle.
    this.#history.needed = busy.size > 0 ? 0 : 1
    return this.#options.select?.(nodes, this.#update + 1, this.#history) ?? nodes
  }

  async #send(nodes: readonly NodeInfo[]): Promise<void> {
    const { arrayrecordKey, configrecordKey } = this.#strategy
    const round = this.#update + 1
    const received = this.#result.arrays
    const config = (this.#options.trainConfig?.copy() ?? new ConfigRecord()).set('server-round', round)
    const content = new RecordDict([
      [arrayrecordKey, received],
      [configrecordKey, config],
    ])
    const ttl = this.#limits.timeoutSeconds
    const messages = nodes.map(({ nodeId }) =>
      Message.create({ content, messageType: 'train', dstNodeId: nodeId, ttl }),
    )
    const askedAt = this.#clock.now()
    for (const [index, messageId] of (await this.#grid.pushMessages(messages)).entries()) {
      const { nodeId, name } = nodes[index] as NodeInfo
      if (messageId === undefined) continue
      this.#history.asked(nodeId, round)
      this.#tasks.set(messageId, { nodeId, name, version: this.#update, received, askedAt })
    }
  }

  /** Takes the replies that have come, and steps whenever the buffer is full. Returns whether the training stops. */
  async #takeReplies(): Promise<boolean> {
    const askedAt = this.#clock.now()
    const replies = await this.#grid.pullMessages(this.#tasks.keys(), { waitMs: lookMs })
    const restMs = askedAt + pauseMs - this.#clock.now()
    if (replies.length === 0 && restMs > 0) await this.#clock.sleep(restMs)
    for (const reply of replies) {
      const task = this.#tasks.get(reply.metadata.replyToMessageId)
      if (!task) continue
      this.#tasks.delete(reply.metadata.replyToMessageId)
      this.#take(reply, task)
      if (!this.#buffer.isFull) continue
      if (await this.#step()) return true
      if (this.#update >= this.#limits.updates) return false
    }
    return false
  }

  #take(reply: Message, { nodeId, name, version, received, askedAt }: Task): void {
    const seconds = (this.#clock.now() - askedAt) / 1000
    const metrics = reply.error ? undefined : [...reply.content.metricRecords.values()][0]
    this.#history.replied(nodeId, { failed: reply.error !== undefined, seconds, metrics })
    if (reply.error) {
      const reason = name === undefined ? reply.error.reason : reasonAt(reply.error.reason, name)
      log.info(`\t> Received error in reply from node ${nodeId}: ${reason}`)
      // A node that has left is not in the list of nodes, unless it is back.
      if (reply.error.code !== errorCodes.nodeUnavailable) this.#failed.set(nodeId, reason)
      return
    }
    this.#attempts = 0
    const steps = this.#update - version
    if (received) this.#buffer.add({ received, content: reply.content, steps })
    else log.info(`\t> Dropped the update of node ${nodeId}, which missed ${steps} steps of the model`)
  }

  async #step(): Promise<boolean> {
    this.#update++
    log.info('')
    log.info(`[UPDATE ${this.#update}/${this.#limits.updates}]`)
    const metrics = this.#buffer.metrics()
    this.#result.arrays = this.#buffer.stepFrom(this.#result.arrays)
    this.#buffer = this.#strategy.buffer()
    this.#failed.clear()
    this.#forgetOldModels()
    log.info(`\t└──> Aggregated MetricRecord: ${metrics}`)
    this.#result.trainMetricsClientapp.set(this.#update, metrics)
    this.#report('train', metrics)
    const { evaluateFn } = this.#options
    const atServer = evaluateFn && (await evaluateGlobally(this.#update, this.#result, evaluateFn))
    this.#report('round-end', atServer)
    const stops = await endOfRound(this.#update, this.#result, this.#options)
    await this.#checkpoint?.save(this.#update, stops)
    return stops
  }

  /** A model that only too old updates could need is not kept in memory. */
  #forgetOldModels(): void {
    for (const [messageId, task] of this.#tasks)
      if (this.#update - task.version > this.#strategy.maxStaleness)
        this.#tasks.set(messageId, { ...task, received: undefined })
  }

  /** Other nodes train in the place of those that took too long. */
  #giveUpSlow(): void {
    const before = this.#clock.now() - this.#limits.timeoutSeconds * 1000
    for (const [messageId, { nodeId, askedAt }] of this.#tasks) {
      if (askedAt > before) continue
      this.#tasks.delete(messageId)
      log.warn(`\t> No reply from node ${nodeId} within ${this.#limits.timeoutSeconds} s`)
      this.#history.late(nodeId)
    }
  }

  #report(phase: Progress['phase'], metrics?: MetricRecord): void {
    const progress = { round: this.#update, rounds: this.#limits.updates, phase }
    this.#grid.reportProgress(metrics ? { ...progress, metrics: numbersOf(metrics) } : progress)
  }
}
