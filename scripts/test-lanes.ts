import { relative } from 'node:path'
import { PassThrough } from 'node:stream'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

/** Test files that start in this order. */
export interface TestQueue {
  readonly files: string[]
  /** What Node is given besides what all files need. */
  readonly execArgv?: readonly string[]
}

export interface Lane {
  /** How many files of this lane run at the same time. */
  readonly count: number
  /** Where its files come from: a queue is used when those before it are empty. */
  readonly queues: readonly TestQueue[]
}

/** A test that hangs fails by itself. Tests that wait for Python's pauses take up to four minutes. */
const testLimit = '--test-timeout=600000'
/** Files that take longer are named with their time: `slow-tests.ts` lists them. */
const slowMs = 20_000

const countNames = ['tests', 'suites', 'passed', 'failed', 'cancelled', 'skipped', 'todo'] as const
const printedNames: Readonly<Record<string, string>> = { passed: 'pass', failed: 'fail' }
const isCount = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /

/**
 * Runs test files in lanes, and prints the tests of each file as soon as the file has ended, then the failures and the counts
 * of all files. One list with several orders keeps all cores at work: while some files wait for their programs, others compute.
 * Returns whether all tests passed.
 */
export async function runInLanes(lanes: readonly Lane[], execArgv: readonly string[]): Promise<boolean> {
  const startedAt = performance.now()
  const report = new PassThrough({ objectMode: true })
  const printed = print(report)
  const counts = new Map<string, number>(countNames.map((name) => [name, 0]))
  let isSuccess = true

  async function work({ queues }: Lane): Promise<void> {
    for (;;) {
      const queue = queues.find(({ files }) => files.length > 0)
      const file = queue?.files.shift()
      if (file === undefined) return
      const queueArgv = queue?.execArgv ?? []
      const fileStartedAt = performance.now()
      const events = []
      let hasSummary = false
      for await (const event of run({ files: [file], execArgv: [...execArgv, ...queueArgv, testLimit] })) {
        if (event.type === 'test:summary' && event.data.file === undefined) {
          hasSummary = true
          isSuccess &&= event.data.success
          for (const name of countNames) counts.set(name, (counts.get(name) ?? 0) + event.data.counts[name])
        } else if (event.type !== 'test:diagnostic' || event.data.nesting > 0 || !isCount.test(event.data.message)) {
          events.push(event)
        }
      }
      isSuccess &&= hasSummary
      // All at once: events of two files at the same time would be printed as if one were part of the other.
      for (const event of events) report.write(event)
      const tookMs = performance.now() - fileStartedAt
      if (tookMs >= slowMs) report.write(diagnostic(`${relative('', file)} took ${Math.round(tookMs / 1000)} s`))
    }
  }

  await Promise.all(lanes.flatMap((lane) => Array.from({ length: lane.count }, () => work(lane))))
  for (const [name, count] of counts) report.write(diagnostic(`${printedNames[name] ?? name} ${count}`))
  report.end(diagnostic(`duration_ms ${performance.now() - startedAt}`))
  await printed
  return isSuccess
}

const diagnostic = (message: string) => ({ type: 'test:diagnostic', data: { nesting: 0, message, level: 'info' } })

async function print(report: PassThrough): Promise<void> {
  for await (const text of report.compose(spec)) process.stdout.write(text as string)
}
