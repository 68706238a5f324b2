import type { MessageShape } from '@bufbuild/protobuf'
import type { RunId, TaskId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import type { MessageSchema, ObjectTree, Message as WireMessage } from '../gen/flwr/proto/message_pb.ts'
import type { Metadata } from '../message/message.ts'
import { metadataFromWire } from '../message/wire.ts'

/** What this node remembers of an instruction, also after its end: it is never executed again. */
export interface Known {
  readonly messageId: string
  readonly runId: RunId
  isConfirmed: boolean
  /** Answered or dropped. */
  isFinished: boolean
  /** How often the SuperLink has handed it out again, since its confirmation if there was one. */
  repeats: number
}

/** One instruction that this node has taken and not yet answered. */
export interface Work {
  readonly metadata: Metadata
  readonly runId: RunId
  readonly wire: WireMessage
  readonly tree: ObjectTree
  readonly known: Known
  /** Its execution; absent while an earlier instruction of the run is worked on. */
  taskId: TaskId | undefined
  /** Settles when its objects are here; absent while they are not fetched yet. */
  arrival: Promise<void> | undefined
  /** What the app answered, once it has begun to. */
  reply: WorkReply | undefined
  readonly expiry: NodeJS.Timeout
}

export interface WorkReply {
  readonly wire: MessageShape<typeof MessageSchema>
  readonly tree: ObjectTree
  /** Objects of the reply that the app has not handed over yet. */
  readonly missing: Set<string>
  /** Seconds that the app took, when it said so. */
  runtimeSeconds: number | undefined
  /** The app has handed over its state too. Without that the reply would be a success that lost it. */
  isFinal: boolean
}

/** What this node has to do, by instruction and by task. Instructions of one run are worked on one after the other. */
export class WorkBook {
  readonly #byMessage = new Map<string, Work>()
  readonly #byTask = new Map<TaskId, Work>()
  /** Those that are worked on, and the last ones that are finished. */
  readonly #known = new Map<string, Known>()

  get size(): number {
    return this.#byMessage.size
  }

  /** Returns what is known of an instruction that the SuperLink has handed out before. */
  findKnown(messageId: string): Known | undefined {
    return this.#known.get(messageId)
  }

  /** Adds an instruction that is not known yet. `onExpired` is called at the end of its life. */
  add(wire: WireMessage, tree: ObjectTree, onExpired: (work: Work) => void, now: number): Work {
    const metadata = metadataFromWire(wire.metadata)
    const { messageId } = metadata
    const runId = metadata.runId as RunId
    const restMs = (metadata.createdAt + metadata.ttl) * 1000 - now
    const work: Work = {
      metadata,
      runId,
      wire,
      tree,
      known: { messageId, runId, isConfirmed: false, isFinished: false, repeats: 0 },
      taskId: undefined,
      arrival: undefined,
      reply: undefined,
      expiry: setTimeout(() => onExpired(work), Math.min(Math.max(restMs, 0), timerMsMax)).unref(),
    }
    this.#byMessage.set(messageId, work)
    this.#known.set(messageId, work.known)
    return work
  }

  begin(work: Work, taskId: TaskId): void {
    work.taskId = taskId
    this.#byTask.set(taskId, work)
  }

  ofTask(taskId: TaskId): Work | undefined {
    return this.#byTask.get(taskId)
  }

  /** The instruction of this run that waits longest for its turn, unless one is worked on. */
  nextOf(runId: RunId): Work | undefined {
    const ofRun = [...this.#byMessage.values()].filter((work) => work.runId === runId)
    return ofRun.some((work) => work.taskId !== undefined && this.#byTask.has(work.taskId))
      ? undefined
      : ofRun.find((work) => work.taskId === undefined)
  }

  ofRun(runId: RunId): Work[] {
    return [...this.#byMessage.values()].filter((work) => work.runId === runId)
  }

  /** Its task is over: the next instruction of the run may begin while this one's reply is sent. */
  end(work: Work): void {
    clearTimeout(work.expiry)
    if (work.taskId !== undefined) this.#byTask.delete(work.taskId)
  }

  /** Forgets an instruction that could not be begun: it may come again. */
  discard(work: Work): void {
    this.end(work)
    this.#byMessage.delete(work.metadata.messageId)
    this.#known.delete(work.metadata.messageId)
  }

  remove(work: Work): void {
    this.end(work)
    const { messageId } = work.metadata
    this.#byMessage.delete(messageId)
    work.known.isFinished = true
    // The last one that was finished is the last to be forgotten.
    this.#known.delete(messageId)
    this.#known.set(messageId, work.known)
    if (this.#known.size <= limits.finishedInstructionsMax) return
    for (const [id, { isFinished }] of this.#known) {
      if (!isFinished) continue
      this.#known.delete(id)
      return
    }
  }
}

/** The longest that a timer can run. */
const timerMsMax = 2 ** 31 - 1
