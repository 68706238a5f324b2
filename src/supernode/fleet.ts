import { type DescMethodUnary, isMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf'
import type { Clock } from '../base/clock.ts'
import { UsageError } from '../base/errors.ts'
import type { NodeId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { backoffMs } from '../base/retry.ts'
import { Fleet, PullMessagesResponseSchema } from '../gen/flwr/proto/fleet_pb.ts'
import { signNodeCall } from '../identity/node-key.ts'
import { mayHaveBeenHandled, waitingHelps } from '../rpc/call-failures.ts'
import { type CallOptions, type Channel, RpcError } from '../rpc/channel.ts'
import { cheapPauseMs, pauseMsAfter, ServerWait } from '../rpc/server-wait.ts'
import type { SupernodeConfig } from './config.ts'
import { explainRefusal, isOnlineAlready } from './refusals.ts'

export const fleet = Fleet.method

/** What upstream calls a heartbeat interval; the SuperLink takes a node for gone after two of them. */
export const heartbeatIntervalSeconds = 30
/** A call without an answer for longer than this beyond what it may be held was lost with its connection. */
const answerMs = 30_000
/** The same for what can carry objects or an app: a slow line takes its time, and pulls or heartbeats notice a dead one. */
const transferAnswerMs = 300_000
const transfers: readonly DescMethodUnary[] = [fleet.pushMessages, fleet.pushObject, fleet.pullObject, fleet.getFab]

const activationPauseMs = 5000

export interface FleetOptions {
  readonly config: Pick<
    SupernodeConfig,
    'key' | 'keyIsAutomatic' | 'hasCertificate' | 'tags' | 'maxRetries' | 'maxWaitMs'
  >
  readonly channel: Channel
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * The Fleet API as this node sees it. Calls are tried again while the SuperLink cannot be reached, with one line that says
 * what is waited for and one when it is over; a refusal that no waiting would mend ends the program with its sentence.
 */
export class FleetClient {
  readonly #options: FleetOptions
  /** Signing costs both ends: under mutual TLS it waits until the SuperLink asks for it. */
  #signs: boolean
  #nodeId = 0n as NodeId
  readonly #wait: ServerWait
  /** Whether the SuperLink has responded to a call of this start. */
  #hasWorked = false
  #holds = true
  #redelivers = true
  #objectsBytesMax = 0
  /** Whether the last pull was taken for a heartbeat, and when the latest one was sent. */
  #pullsCount = false
  #pulledAt = 0
  #joining: Promise<void> | undefined
  #heartbeatDue = Promise.withResolvers<void>()

  constructor(options: FleetOptions) {
    this.#options = options
    this.#wait = new ServerWait({ server: 'the SuperLink', ...options })
    this.#signs = !options.config.hasCertificate || !options.config.keyIsAutomatic
  }

  get nodeId(): NodeId {
    return this.#nodeId
  }

  /**
   * Whether the SuperLink hands out an unconfirmed instruction again after a restart of this node. Our SuperLinks do. They
   * set a field in each response to a pull, because a proxy can remove a header. A SuperLink without the field is treated as
   * Flower's. If ours is mistaken for one, no message is lost or executed twice, but a restart fails it with an error.
   */
  get redelivers(): boolean {
    return this.#redelivers
  }

  /** How many bytes of objects may travel with a reply; 0 unless the SuperLink has said so in its last response to a pull. */
  get objectsBytesMax(): number {
    return this.#objectsBytesMax
  }

  /** When this node last sent a pull, if its SuperLink takes pulls for heartbeats; 0 if not. */
  get pullCountedAt(): number {
    return this.#pullsCount ? this.#pulledAt : 0
  }

  /**
   * Resolves when a heartbeat should not wait for its time: a SuperLink of Flower was away and responds again. It counts the
   * time without it against its nodes, so that a second absence soon after the first would end what they work on. Ours gives
   * each node a whole period after a start. Each call returns a new promise, and only the latest one resolves.
   */
  heartbeatDue(): Promise<void> {
    // A pending promise keeps all that was chained to it: one for all heartbeats would grow with each of them.
    this.#heartbeatDue = Promise.withResolvers()
    return this.#heartbeatDue.promise
  }

  /** Introduces this node and brings it online. */
  async join(): Promise<void> {
    const { key, keyIsAutomatic } = this.#options.config
    const publicKey = key.publicKeyPem
    if (keyIsAutomatic) {
      await this.call(fleet.registerNode, { publicKey }).catch((error: unknown) => {
        // The same key again: the answer to an earlier try was lost.
        if (!(error instanceof RpcError && /already in use/.test(error.message))) throw error
      })
    }
    this.#nodeId = await this.#activate(publicKey)
  }

  /** A node that was killed counts as online for a minute, and cannot come back before: a supervisor need not know. */
  async #activate(publicKey: Uint8Array): Promise<NodeId> {
    const { clock, config, log, signal } = this.#options
    const request = { publicKey, heartbeatInterval: heartbeatIntervalSeconds, tags: { ...config.tags } }
    const endsAt = clock.now() + 2 * heartbeatIntervalSeconds * 1000 + activationPauseMs
    for (let tries = 0; ; tries++) {
      try {
        return (await this.call(fleet.activateNode, request)).message.nodeId as NodeId
      } catch (error) {
        // A node that was online before has been removed; a key of this start has no other user.
        const isHopeless = this.#nodeId !== 0n || config.keyIsAutomatic
        if (!isOnlineAlready(error) || isHopeless || clock.now() > endsAt) throw error
        if (tries === 0) {
          log.warn(
            `${explainRefusal(error as RpcError, clock.now())} One that was killed counts as online for a minute: trying for that long.`,
          )
        }
        await clock.sleep(activationPauseMs, signal)
      }
    }
  }

  /** Joins anew when the SuperLink does not know node `nodeId` any more; several may ask for it at the same time. */
  async rejoin(nodeId: NodeId): Promise<void> {
    if (this.#nodeId !== nodeId) return
    this.#joining ??= this.join().finally(() => {
      this.#joining = undefined
    })
    await this.#joining
  }

  /** Goes offline; a node that only this start knew goes for good. Errors do not matter any more. */
  async leave(): Promise<void> {
    if (this.#nodeId === 0n) return
    const { config, channel } = this.#options
    const request = { nodeId: this.#nodeId }
    const options = async () => ({ ...(await this.#signature()), timeoutMs: 2000 })
    await channel.call(fleet.deactivateNode, request, await options()).catch(() => {})
    if (config.keyIsAutomatic && !config.hasCertificate)
      await channel.call(fleet.unregisterNode, request, await options()).catch(() => {})
  }

  /** Throws an RpcError that waiting would not mend. The signal takes the call back; that of this client by default. */
  async call<I extends DescMethodUnary['input'], O extends DescMethodUnary['output']>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    { signal = this.#options.signal, ...options }: Pick<CallOptions, 'waitMs' | 'signal' | 'files'> = {},
  ): Promise<{ message: MessageShape<O>; waited: boolean }> {
    const { clock, config, channel } = this.#options
    const pauses = backoffMs()
    const startedAt = clock.now()
    const isPull = (method as DescMethodUnary) === fleet.pullMessages
    let responseLost = false
    for (let tries = 0; ; tries++) {
      signal.throwIfAborted()
      try {
        // A slow line may have been the reason: then only the message comes, and its objects one by one.
        const pullAgain = { ...request, objectsBytesMax: 0, responseLost }
        if (isPull) this.#pulledAt = clock.now()
        const answer = await channel.call(method, isPull && tries > 0 ? pullAgain : request, {
          // Not held after a failure: the response shows at once that the SuperLink is back.
          ...options,
          ...(options.waitMs !== undefined && tries > 0 ? { waitMs: 0 } : {}),
          ...(await this.#signature()),
          timeoutMs: (transfers.includes(method) ? transferAnswerMs : answerMs) + this.#heldMs(options),
          signal,
        })
        this.#hasWorked = true
        if (this.#wait.over() && !this.#redelivers) this.#heartbeatDue.resolve()
        if (options.waitMs !== undefined) this.#holds = answer.waited
        const { message } = answer
        if (isMessage(message, PullMessagesResponseSchema)) {
          this.#redelivers = message.endedRunsSeen !== undefined
          this.#objectsBytesMax = Math.min(message.objectsBytesMax, limits.carriedBytesMax)
          this.#pullsCount = message.heartbeatCounted
        }
        return answer
      } catch (error) {
        signal.throwIfAborted()
        if (isPull) this.#pullsCount = false
        if (!(error instanceof RpcError)) throw error
        responseLost ||= mayHaveBeenHandled(error.failure)
        if (this.#mustSign(error) || error.kind === 'replaced') continue
        const lost = error.status === 'deadline-exceeded'
        if (lost) channel.reconnect()
        if (!waitingHelps(error.failure, { tries, hasWorked: this.#hasWorked })) throw error
        const spent =
          tries >= (config.maxRetries ?? Number.POSITIVE_INFINITY) ||
          clock.now() - startedAt > (config.maxWaitMs ?? Number.POSITIVE_INFINITY)
        if (spent)
          throw new UsageError(`${error.message} Gave up after ${tries === 0 ? 'one try' : `${tries + 1} tries`}.`, {
            flowerCode: 305,
          })
        // A limit on the number of tries is meant for the pauses of Flower.
        const isCounted = config.maxRetries !== undefined && error.retryAfterMs === undefined
        const pauseMs = isCounted ? pauses.next().value : pauseMsAfter(error, pauses, { cheapMs: cheapPauseMs.many })
        this.#wait.failed(error, pauseMs)
        await clock.sleep(pauseMs, signal)
      }
    }
  }

  /** How long the SuperLink may hold a call: not at all once it has shown that it does not. */
  #heldMs({ waitMs = 0 }: Pick<CallOptions, 'waitMs'>): number {
    return this.#holds ? waitMs : 0
  }

  async #signature() {
    return this.#signs ? signNodeCall(this.#options.config.key, this.#options.clock.now()) : {}
  }

  /** A SuperLink that did not ask for our certificate knows nodes by their keys. */
  #mustSign(error: RpcError): boolean {
    if (this.#signs || error.status !== 'unauthenticated' || error.refusalReason !== undefined) return false
    this.#signs = true
    return true
  }
}

/** Whether the SuperLink does not know this node (any more): it may have lost its state. */
export function isNodeForgotten(error: unknown): boolean {
  if (!(error instanceof RpcError)) return false
  return error.refusalReason === undefined
    ? error.status === 'unauthenticated'
    : error.refusalReason === 'node-of-another-identity'
}

/** Whether an error means that a run has ended: the SuperLink sends this status without a reason for nothing else. */
export function isRunEnded(error: unknown): boolean {
  return error instanceof RpcError && error.status === 'permission-denied' && error.refusalReason === undefined
}
