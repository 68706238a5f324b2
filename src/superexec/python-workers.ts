import type { Duplex } from 'node:stream'
import type { AcquiredTask } from '../app-api/task-source.ts'
import { limits } from '../base/limits.ts'
import { endApp, type StartedApp } from './started-app.ts'
import { readFrames, writeFrame } from './worker-frames.ts'

/** How long a worker waits for the next message of its run, and how many messages it executes at most. */
const idleMs = 60_000
const messagesMax = 1000
const closingMs = 2000

/** Starts a process that will open a connection for frames. Returns `undefined` if none can be started. */
export type StartWorker = (task: AcquiredTask, onConnection: (pipe: Duplex) => void) => StartedApp | undefined

export interface RunFab {
  readonly hashStr: string
  readonly content: Uint8Array
}

/** A Python process that executes messages of one run, one at a time. */
export class PythonWorker {
  readonly runId: bigint
  readonly started: StartedApp
  /** Settles when the worker can execute messages, does not know the Flower of its environment, or its process has ended. */
  readonly ready: Promise<'ready' | 'unsupported' | 'ended'>
  /** The app that it was given. */
  fab: RunFab | undefined
  messages = 0
  #pipe: Duplex | undefined
  #waiting: PromiseWithResolvers<Uint8Array[]> | undefined

  constructor(task: AcquiredTask, start: StartWorker) {
    this.runId = task.runId
    const ready = Promise.withResolvers<'ready' | 'unsupported' | 'ended'>()
    const started = start(task, (pipe) => {
      this.#pipe = pipe
      readFrames(pipe, { partsMax: framePartsMax, bytesMax: limits.workerFrameBytesMax }, (parts) => {
        const waiting = this.#waiting
        // Its reply is too large, so that nothing more can be read.
        if (!parts) return endApp(this.started)
        if (!waiting) return ready.resolve('ready' in readAbout(parts[0]) ? 'ready' : 'unsupported')
        this.#waiting = undefined
        waiting.resolve(parts)
      })
    })
    if (!started) throw new Error('No worker could be started.')
    this.started = started
    this.ready = ready.promise
    void started.ended.then((outcome) => {
      ready.resolve('ended')
      this.#waiting?.reject(new WorkerEndedError(outcome))
      this.#waiting = undefined
      this.#pipe?.destroy()
    })
  }

  /** Executes a message. Throws a WorkerEndedError if the process ends before it has replied. */
  execute(parts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    if (!this.#pipe || this.started.isOver) throw new WorkerEndedError('ended')
    this.messages += 1
    this.#waiting = Promise.withResolvers()
    writeFrame(this.#pipe, parts)
    return this.#waiting.promise
  }

  /** Lets a worker that waits end by itself, with what its app has registered for its end. */
  close(): void {
    this.#pipe?.end()
    const timer = setTimeout(() => endApp(this.started), closingMs)
    void this.started.ended.then(() => clearTimeout(timer))
  }
}

/** The process of a worker has ended; the reason is reported by its end. */
export class WorkerEndedError extends Error {
  override readonly name = 'WorkerEndedError'
}

/** What a worker says of itself, or of an execution, as JSON. It comes from a process that runs code of an app. */
export function readAbout(bytes: Uint8Array | undefined): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes ?? []).toString())
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

const framePartsMax = 4

/** The workers that wait for the next message of their run. They are never shared between runs. */
export class IdleWorkers {
  readonly #idle = new Map<PythonWorker, NodeJS.Timeout>()

  take(runId: bigint): PythonWorker | undefined {
    for (const [worker, timer] of this.#idle) {
      if (worker.runId !== runId) continue
      clearTimeout(timer)
      this.#idle.delete(worker)
      if (!worker.started.isOver) return worker
    }
    return undefined
  }

  park(worker: PythonWorker): void {
    if (worker.started.isOver) return
    if (worker.messages >= messagesMax) {
      worker.close()
      return
    }
    const end = (): void => {
      this.#idle.delete(worker)
      worker.close()
    }
    this.#idle.set(worker, setTimeout(end, idleMs))
  }

  endRuns(runIds: readonly bigint[]): void {
    for (const worker of [...this.#idle.keys()]) {
      if (!runIds.includes(worker.runId)) continue
      this.forget(worker)
      worker.close()
    }
  }

  endOne(): void {
    const [worker] = this.#idle.keys()
    if (!worker) return
    this.forget(worker)
    worker.close()
  }

  /** The process of a worker has ended. */
  forget(worker: PythonWorker): void {
    clearTimeout(this.#idle.get(worker))
    this.#idle.delete(worker)
  }
}
