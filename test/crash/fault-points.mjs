import { EventEmitter } from 'node:events'
import fs from 'node:fs'
import { ServerResponse } from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isMainThread } from 'node:worker_threads'

/**
 * Loaded with `--import` by the crash harness alone: kills the program at a chosen point, such as the third commit from now.
 * The harness writes the point into a file named after the process and sends SIGUSR2. Other programs pass no such points.
 */
let armed

function pass(point) {
  if (armed?.point !== point) return
  armed.passes -= 1
  if (armed.passes <= 0) process.kill(process.pid, 'SIGKILL')
}

if (isMainThread && /^flower-super(link|node)$/.test(process.argv[2] ?? '')) {
  const path = join(process.env.TRELLIS_FAULT_FOLDER, String(process.pid))
  process.on('SIGUSR2', () => {
    armed = JSON.parse(fs.readFileSync(path, 'utf8'))
  })
  watchCommits()
  if (process.argv.some((argument) => argument.startsWith('postgres:'))) await watchPostgres()
  watchFiles()
  watchResponses()
}

function watchCommits() {
  const { exec } = DatabaseSync.prototype
  DatabaseSync.prototype.exec = function (sql) {
    if (sql !== 'COMMIT') return exec.call(this, sql)
    pass('before-commit')
    exec.call(this, sql)
    pass('after-commit')
  }
}

async function watchPostgres() {
  const { default: pg } = await import('pg')
  const { query } = pg.Client.prototype
  pg.Client.prototype.query = function (...given) {
    const isCommit = typeof given[0] === 'string' && given[0].endsWith('; COMMIT')
    if (!isCommit) return query.apply(this, given)
    pass('before-commit')
    const committed = query.apply(this, given)
    committed.then(
      () => pass('after-commit'),
      () => {},
    )
    return committed
  }
}

function watchFiles() {
  const { fdatasync } = fs
  fs.fdatasync = (file, done) => {
    pass('before-sync')
    fdatasync(file, (error) => {
      pass('after-sync')
      done(error)
    })
  }
  const { rename } = fs.promises
  fs.promises.rename = async (...paths) => {
    pass('before-rename')
    await rename(...paths)
    pass('after-rename')
  }
  syncBuiltinESMExports()
}

/** Responses over HTTP/1 and over HTTP/2, whose streams have a class that Node does not export. */
function watchResponses() {
  const { writeHead } = ServerResponse.prototype
  ServerResponse.prototype.writeHead = function (...head) {
    pass('before-acknowledgement')
    this.once('finish', () => pass('after-acknowledgement'))
    return writeHead.apply(this, head)
  }
  const { emit } = EventEmitter.prototype
  EventEmitter.prototype.emit = function (event, ...given) {
    if (event === 'stream' && typeof given[0]?.respond === 'function') {
      EventEmitter.prototype.emit = emit
      watchStreams(Object.getPrototypeOf(given[0]))
    }
    return emit.call(this, event, ...given)
  }
}

function watchStreams(prototype) {
  const { respond } = prototype
  prototype.respond = function (...head) {
    pass('before-acknowledgement')
    this.once('finish', () => setImmediate(() => pass('after-acknowledgement')))
    return respond.apply(this, head)
  }
}
