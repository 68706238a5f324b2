import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type TaskApi, TaskEndedError, type WholeInput } from '../app-api/task-api.ts'
import { findOversize, findOversizeState, sendOutput } from '../app-api/task-messages.ts'
import type { AcquiredTask, TaskSource } from '../app-api/task-source.ts'
import { errorText } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { readSeconds } from '../base/read-seconds.ts'
import { ContextSchema, MessageSchema } from '../gen/flwr/proto/message_pb.ts'
import { type DeflatedMessage, deflateMessage } from '../message/deflate.ts'
import { inflateMessage } from '../message/inflate.ts'
import { errorCodes, Message } from '../message/message.ts'
import { metadataFromWire, metadataToWire, recordDictFromWire, recordDictToWire } from '../message/wire.ts'
import { byHash } from '../objects/carried-objects.ts'
import {
  IdleWorkers,
  PythonWorker,
  type RunFab,
  readAbout,
  type StartWorker,
  WorkerEndedError,
} from './python-workers.ts'
import { endApp, type StartedApp } from './started-app.ts'
import { clientAppHeartbeatMs, type TaskGuard } from './task-guard.ts'

export interface RelayOptions {
  readonly source: TaskSource
  readonly log: Logger
  readonly startWorker: StartWorker
  readonly guard: (task: AcquiredTask, kill: () => void) => TaskGuard
  /** Notes a process that this program has started. */
  readonly adopt: (app: StartedApp, onEnd: (outcome: string) => void) => void
  /** Runs a task in the program of Flower. */
  readonly launchAlone: (task: AcquiredTask) => void
}

/**
 * Executes small messages of Python ClientApps in workers, which stay alive for the messages of a run. This program receives
 * the message and sends the reply, so that the worker makes no calls. Messages that are too large, and environments whose
 * Flower a worker does not know, are left to the program of Flower. What an app does to its process has the same effect as there.
 */
export class RelayedMessages {
  readonly #options: RelayOptions
  readonly #idle = new IdleWorkers()
  readonly #workers = new Set<PythonWorker>()
  readonly #guards = new Map<PythonWorker, TaskGuard>()
  #unsupported = false
  #closed = false

  constructor(options: RelayOptions) {
    this.#options = options
  }

  /** Returns whether the task is run here. */
  take(task: AcquiredTask): boolean {
    if (this.#unsupported || task.program !== 'flwr-clientapp' || this.#options.source.needsLastWords) return false
    const worker = this.#idle.take(task.runId) ?? this.#start(task)
    if (!worker) return false
    void this.#run(task, worker)
    return true
  }

  endRuns(runIds: readonly bigint[]): void {
    this.#idle.endRuns(runIds)
  }

  /** Ends a worker that waits for a message, to make room for another process. */
  endOneIdle(): void {
    this.#idle.endOne()
  }

  /** Ends all workers. No message that waits for one is left to the program of Flower. */
  close(): void {
    this.#closed = true
    for (const worker of this.#workers) worker.close()
  }

  #start(task: AcquiredTask): PythonWorker | undefined {
    const { startWorker, adopt } = this.#options
    let worker: PythonWorker
    try {
      worker = new PythonWorker(task, startWorker)
    } catch {
      return undefined
    }
    this.#workers.add(worker)
    adopt(worker.started, (outcome) => {
      this.#workers.delete(worker)
      this.#idle.forget(worker)
      this.#guards.get(worker)?.end(outcome)
      this.#guards.delete(worker)
    })
    return worker
  }

  async #run(task: AcquiredTask, worker: PythonWorker): Promise<void> {
    const { source, guard: createGuard, launchAlone } = this.#options
    /** After that the worker may execute another message, which neither the end nor a failure of this one may disturb. */
    let isHeld = true
    let isOver = false
    const guard = createGuard(task, () => {
      isOver = true
      if (isHeld) endApp(worker.started)
    })
    guard.keepAlive({ afterMs: clientAppHeartbeatMs })
    const state = await worker.ready
    if (state !== 'ready') {
      guard.release()
      this.#unsupported ||= state === 'unsupported'
      return this.#closed || isOver ? undefined : launchAlone(task)
    }
    this.#guards.set(worker, guard)
    const api = source.open(task, { log: undefined, signal: guard.signal })
    const release = (): void => {
      isHeld = false
      this.#guards.delete(worker)
      this.#idle.park(worker)
    }
    try {
      const known = this.#fabOf(task.runId)
      const wishes = { objectsBytesMax: limits.carriedBytesMax, ...(known ? { fabHash: known.hashStr } : {}) }
      const input = await api.pullWholeInput(wishes)
      if (!input) {
        release()
        guard.release()
        return launchAlone(task)
      }
      const parts = await worker.execute(framesOf(worker, input, { known, trace: task.trace?.parent }))
      // Before the server hears of the end, and hands out the next message.
      release()
      await sendReply(api, input, parts)
      guard.release()
    } catch (error) {
      if (error instanceof WorkerEndedError) return
      if (isHeld) {
        this.#guards.delete(worker)
        endApp(worker.started)
      }
      if (error instanceof TaskEndedError || guard.signal.aborted) return guard.release()
      const details = `The message could not be executed: ${errorText(error)}`
      this.#options.log.warn(details, { run: task.runId })
      guard.end('a failure of the runtime', details)
    }
  }

  /** The app of a run is kept as long as a worker of the run lives. */
  #fabOf(runId: bigint): RunFab | undefined {
    for (const worker of this.#workers) if (worker.runId === runId && worker.fab) return worker.fab
    return undefined
  }
}

/** What a worker receives to execute a message. `known` is the app as the server was told that it is here. */
function framesOf(
  worker: PythonWorker,
  { context, run, fab, message, taskId }: WholeInput,
  { known, trace }: { known: RunFab | undefined; trace: string | undefined },
): Uint8Array[] {
  const current = fab && fab.content.length > 0 ? fab : known
  const about = {
    fab_id: run.fabId,
    fab_version: run.fabVersion,
    fab_hash: current?.hashStr ?? '',
    task_id: String(taskId ?? 0n),
    trace,
  }
  const objects = byHash(message.objects)
  const whole = inflateMessage(message.tree.objectId, (id) => objects.get(id) as Uint8Array)
  const wire = create(MessageSchema, {
    metadata: metadataToWire(whole.metadata),
    ...(whole.error
      ? { error: { code: BigInt(whole.error.code), reason: whole.error.reason } }
      : { content: recordDictToWire(whole.content) }),
  })
  const isNew = worker.fab?.hashStr !== current?.hashStr
  worker.fab = current
  return [
    Buffer.from(JSON.stringify(about)),
    toBinary(ContextSchema, context),
    toBinary(MessageSchema, wire),
    isNew && current ? current.content : new Uint8Array(),
  ]
}

/** Sends what a worker has returned: about the execution, the context and the reply. */
async function sendReply(api: TaskApi, input: WholeInput, [about, context, message]: Uint8Array[]): Promise<void> {
  const { details = '', seconds = 0 } = readAbout(about)
  const { nodeId, runId } = input.context
  const left = fromBinary(ContextSchema, context as Uint8Array)
  const tooLarge = findOversizeState(left)
  const read = deflateMessage(messageOf(message as Uint8Array))
  const oversize = tooLarge ?? oversizeOf(read)
  const reply = oversize === undefined ? read : errorReply(input, oversize)
  const failure = oversize ?? String(details)
  await sendOutput({ api, nodeId, runId }, reply, {
    context: tooLarge ? input.context : left,
    subStatus: failure === '' ? 'completed' : 'failed',
    details: failure,
    clientappRuntime: readSeconds(seconds) ?? 0,
  })
}

function messageOf(bytes: Uint8Array): Message {
  const { metadata, content, error } = fromBinary(MessageSchema, bytes)
  return new Message(
    metadataFromWire(metadata),
    error ? { error: { code: Number(error.code), reason: error.reason } } : { content: recordDictFromWire(content) },
  )
}

function oversizeOf(reply: DeflatedMessage): string | undefined {
  const oversize = findOversize(reply)
  return oversize && `The reply is too large: ${oversize}.`
}

function errorReply({ message }: WholeInput, reason: string): DeflatedMessage {
  const instruction = messageOf(toBinary(MessageSchema, message.wire))
  return deflateMessage(instruction.replyError({ code: errorCodes.clientAppRaisedException, reason }))
}
