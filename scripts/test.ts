import { globSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { shareForkServers } from '../test/harness/python-flower.ts'
import { prepare } from './prepare.ts'
import { slowestFirst } from './slow-tests.ts'
import { TestGroups } from './test-groups.ts'
import { type Lane, runInLanes, type TestQueue } from './test-lanes.ts'
import { buildTestPrograms } from './test-programs.ts'

/** Runs tests: those of the given patterns, else all but the matrix with Python Flower (`npm run test:interop`). */
const root = join(import.meta.dirname, '..')
const patterns = process.argv.slice(2)

/** The argument of Node that loads a file beside this one first. */
const imported = (file: string): string => `--import=${pathToFileURL(join(import.meta.dirname, file)).href}`

/** The files of these patterns, the slowest first: no long one is left to run alone at the end. */
function queueOf(globs: readonly string[], exclude: readonly string[] = []): TestQueue {
  const files = globs.flatMap((glob) => globSync(glob, { cwd: root, exclude })).map((path) => join(root, path))
  if (files.length === 0) throw new Error(`No file fits ${globs.join(' ')}`)
  return { files: slowestFirst(files) }
}

function whatTestsNeed(): ReturnType<typeof prepare> {
  const isWanted = (part: RegExp): boolean => patterns.length === 0 || patterns.some((pattern) => part.test(pattern))
  return prepare({
    interop: patterns.length > 0 && isWanted(/interop/),
    deploy: isWanted(/deploy/),
    engines: isWanted(/engines|bucket/),
    browser: isWanted(/flows|dashboard/),
  })
}

/**
 * Tests with programs take turns with tests that compute: the programs of a test wait for each other, for pauses and for the
 * disk, and alone they would leave a quarter of two cores unused.
 */
function allLanes(groups: TestGroups): Lane[] {
  const soak = 'test/flows/soak.test.ts'
  const computing: TestQueue = { files: [...groups.files], execArgv: [imported('low-priority.ts')] }
  const programs = queueOf(['test/*.test.ts', 'test/{deploy,engines,faults,flows,wire}/**/*.test.ts'], [soak])
  return [
    // It takes five minutes, most of which it waits.
    { count: 1, queues: [queueOf([soak]), programs] },
    { count: 4, queues: [programs, computing] },
    { count: 2, queues: [computing, programs] },
  ]
}

// Without it every start of a program, and every test file, would strip and compile the same modules again.
process.env.NODE_COMPILE_CACHE = join(root, '.cache', 'node-compile')
Object.assign(process.env, await whatTestsNeed(), { TRELLIS_TEST_PROGRAMS: await buildTestPrograms() })
using _servers = shareForkServers()
using groups =
  patterns.length === 0
    ? new TestGroups(['src/**/*.test.ts', 'examples/**/*.test.ts', 'templates/!(tensorflow)/**/*.test.ts'])
    : undefined
const isSuccess = await runInLanes(groups ? allLanes(groups) : [{ count: 6, queues: [queueOf(patterns)] }], [
  ...['--conditions=source', '--disable-warning=ExperimentalWarning'],
  // A file that does not end after its tests fails by itself.
  imported('test-file-limit.ts'),
])
if (!isSuccess) process.exitCode = 1
