import type { RunId, TaskId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import { beginExecution, type Execution } from '../execution/execution.ts'
import type { ObjectTree, Message as WireMessage } from '../gen/flwr/proto/message_pb.ts'
import { metadataFromWire } from '../message/wire.ts'

/** What this node knows about an instruction, also after its end, so that it is never executed again. */
export interface Known {
  readonly messageId: string
  readonly runId: RunId
  isConfirmed: boolean
  /** Answered or dropped. */
  isFinished: boolean
  /** How often the SuperLink has sent it again, since its confirmation if there was one. */
  repeats: number
}

/** One instruction that this node has taken and not yet replied to. */
export interface Work extends Execution {
  readonly known: Known
  readonly state: WorkState
  /** Its execution; absent until it has begun. */
  readonly taskId: TaskId | undefined
  /** Settles when its objects are here; absent while they are not fetched yet. */
  arrival: Promise<void> | undefined
}

/**
 * Each step has one owner, however many calls are in flight: `WorkBook.startNext` waiting → starting, `begin` starting →
 * executing, `end` to ended. An instruction is therefore executed at most once and gets one reply.
 */
export type WorkState = 'waiting' | 'starting' | 'executing' | 'ended'

type MutableWork = { -readonly [Name in keyof Work]: Work[Name] }

/** The work of this node, by instruction and by task. Instructions of one run are executed one after the other. */
export class WorkBook {
  readonly #byMessage = new Map<string, MutableWork>()
  readonly #byTask = new Map<TaskId, Work>()
  /** Instructions in work, and the latest finished ones. */
  readonly #known = new Map<string, Known>()

  /** The instructions that are not replied to yet. */
  list(): Work[] {
    return [...this.#byMessage.values()]
  }

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
    const work: MutableWork = {
      ...beginExecution({ metadata, wire, tree }, () => onExpired(work), now),
      known: { messageId, runId, isConfirmed: false, isFinished: false, repeats: 0 },
      state: 'waiting',
      taskId: undefined,
      arrival: undefined,
    }
    this.#byMessage.set(messageId, work)
    this.#known.set(messageId, work.known)
    return work
  }

  /**
   * Takes the instruction of this run that has waited longest for its turn; the caller starts it. Returns `undefined` while
   * another instruction of the run is being started or executed.
   */
  startNext(runId: RunId): Work | undefined {
    const ofRun = this.#ofRun(runId)
    if (ofRun.some(({ state }) => state === 'starting' || state === 'executing')) return undefined
    const next = ofRun.find(({ state }) => state === 'waiting')
    if (next) next.state = 'starting'
    return next
  }

  /** Returns false if the instruction was ended while it was being started: then it is not executed. */
  begin(work: Work, taskId: TaskId): boolean {
    const current = this.#byMessage.get(work.metadata.messageId)
    if (current !== work || current.state !== 'starting') return false
    current.state = 'executing'
    current.taskId = taskId
    this.#byTask.set(taskId, current)
    return true
  }

  ofTask(taskId: TaskId): Work | undefined {
    return this.#byTask.get(taskId)
  }

  ofRun(runId: RunId): Work[] {
    return this.#ofRun(runId)
  }

  /**
   * Ends the work on an instruction: the next one of its run may begin while this one's reply is sent. Only the caller that
   * gets true sends a reply or drops the instruction.
   */
  end(work: Work): boolean {
    const current = this.#byMessage.get(work.metadata.messageId)
    if (current !== work || current.state === 'ended') return false
    current.state = 'ended'
    clearTimeout(work.expiry)
    if (work.taskId !== undefined) this.#byTask.delete(work.taskId)
    return true
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

  #ofRun(runId: RunId): MutableWork[] {
    return [...this.#byMessage.values()].filter((work) => work.runId === runId)
  }
}
