import { Worker } from 'node:worker_threads'

/**
 * Copies what SQLite has committed from its log into the database file, in a thread of its own, because it waits for the disk
 * several times: SQLite syncs the log before it writes the file, the file before the log may begin anew, and the new head of
 * the log.
 */
export class Checkpoints {
  readonly #path: string
  #worker: Worker | undefined
  #done: PromiseWithResolvers<void> | undefined

  constructor(path: string) {
    this.#path = path
  }

  /** Copies what no reader needs in the log. Readers and writers go on meanwhile. */
  copy(): Promise<void> {
    return this.#run('copy')
  }

  /** Copies all of the log, and starts it anew. Nothing may be written meanwhile. */
  copyAndRestart(): Promise<void> {
    return this.#run('restart')
  }

  /** Called when no copy is under way. */
  async close(): Promise<void> {
    await this.#worker?.terminate()
  }

  #run(task: 'copy' | 'restart'): Promise<void> {
    this.#worker ??= this.#open()
    this.#worker.ref()
    this.#done = Promise.withResolvers()
    this.#worker.postMessage(task)
    return this.#done.promise
  }

  #open(): Worker {
    const worker = new Worker(script, { eval: true, workerData: this.#path })
    worker.on('message', () => {
      worker.unref()
      this.#done?.resolve()
    })
    worker.on('error', (error) => {
      this.#worker = undefined
      this.#done?.reject(error)
    })
    return worker
  }
}

/**
 * Each task has a connection of its own, so that the log can be reset in between. The first write after a complete copy
 * begins the log anew and syncs its head: a write of what is there already.
 */
const script = `
const { DatabaseSync } = require('node:sqlite')
const { parentPort, workerData } = require('node:worker_threads')
parentPort.on('message', (task) => {
  const connection = new DatabaseSync(workerData)
  try {
    connection.exec('PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0')
    const { log, checkpointed } = connection.prepare('PRAGMA wal_checkpoint(PASSIVE)').get()
    if (task === 'restart' && log > 0 && log === checkpointed) {
      const { user_version: version } = connection.prepare('PRAGMA user_version').get()
      connection.exec('PRAGMA user_version = ' + version)
    }
  } finally {
    connection.close()
  }
  parentPort.postMessage('done')
})
`
