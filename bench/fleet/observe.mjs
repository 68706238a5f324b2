// Loaded into a SuperLink (NODE_OPTIONS=--import): counts its SQL statements. SIGUSR2 prints what happened since the last
// time, as JSON, and from the first time on measures the delay of the event loop. Before that nothing disturbs idle time.
import { writeSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { DatabaseSync, StatementSync } from 'node:sqlite'
import { isMainThread } from 'node:worker_threads'

const resolutionMs = 10

/** How often each statement was executed; commands such as COMMIT as they are. */
const statements = new Map()
const count = (sql) => statements.set(sql, (statements.get(sql) ?? 0) + 1)
/** The text of a statement is made anew each time it is read. */
const texts = new WeakMap()
function textOf(statement) {
  const known = texts.get(statement)
  if (known !== undefined) return known
  const text = statement.sourceSQL
  texts.set(statement, text)
  return text
}

function observe(prototype, name, sqlOf) {
  const original = prototype[name]
  prototype[name] = function (...values) {
    count(sqlOf(this, values))
    return original.apply(this, values)
  }
}

if (isMainThread) {
  observe(DatabaseSync.prototype, 'exec', (_connection, [sql]) => sql)
  for (const name of ['all', 'get', 'run', 'iterate']) observe(StatementSync.prototype, name, textOf)

  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  let looks = 0
  const inMs = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolutionMs)
  process.on('SIGUSR2', () => {
    looks += 1
    const eventLoopDelayMs = { p99: inMs(delay.percentile(99)), max: inMs(delay.max) }
    const seen = { eventLoopDelayMs, statements: Object.fromEntries(statements) }
    writeSync(2, `observed ${looks}: ${JSON.stringify(seen)}\n`)
    statements.clear()
    delay.reset()
    delay.enable()
  })
}
