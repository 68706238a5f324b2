import { Worker } from 'node:worker_threads'

/**
 * Copies what SQLite has committed from its log into the database file, in a thread of its own. After a long transaction that
 * can be many megabytes, and a commit would copy them on the main thread. Readers and writers go on meanwhile.
 */
export class Checkpoints {
  readonly #path: string
  readonly #onDone: () => void
  #worker: Worker | undefined

  /** `onDone` is called after each checkpoint, also after one that failed. */
  constructor(path: string, onDone: () => void) {
    this.#path = path
    this.#onDone = onDone
  }

  start(): void {
    this.#worker ??= this.#open()
    this.#worker.postMessage('checkpoint')
  }

  async close(): Promise<void> {
    await this.#worker?.terminate()
  }

  #open(): Worker {
    const worker = new Worker(script, { eval: true, workerData: this.#path })
    worker.unref()
    worker.on('message', this.#onDone)
    // The next commit does it then.
    worker.on('error', () => {
      this.#worker = undefined
      this.#onDone()
    })
    return worker
  }
}

/** Each checkpoint has a connection of its own, so that the log can be reset in between. */
const script = `
const { DatabaseSync } = require('node:sqlite')
const { parentPort, workerData } = require('node:worker_threads')
parentPort.on('message', () => {
  const connection = new DatabaseSync(workerData)
  try {
    connection.exec('PRAGMA busy_timeout = 5000; PRAGMA wal_checkpoint(PASSIVE)')
  } finally {
    connection.close()
  }
  parentPort.postMessage('done')
})
`
