import { globSync } from 'node:fs'
import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { pathToFileURL } from 'node:url'
import { prepare } from './prepare.ts'
import { slowestFirst } from './slow-tests.ts'
import { TestGroups } from './test-groups.ts'

/** Runs the tests: all but the matrix with Python Flower (`npm run test:interop`), or those of the patterns that are given. */
const root = join(import.meta.dirname, '..')
const patterns = process.argv.slice(2)
const isAll = patterns.length === 0
const interop = patterns.some((pattern) => pattern.includes('interop'))
const needed = await prepare({
  interop,
  deploy: isAll || patterns.some((pattern) => pattern.includes('deploy')),
  engines: isAll || patterns.some((pattern) => /engines|bucket/.test(pattern)),
  browser: isAll || patterns.some((pattern) => /flows|dashboard/.test(pattern)),
})
// Without it every start of a program, and every test file, would strip and compile the same modules again.
Object.assign(process.env, { NODE_COMPILE_CACHE: join(root, '.cache', 'node-compile') }, needed)
using groups = isAll
  ? new TestGroups(['src/**/*.test.ts', 'examples/**/*.test.ts', 'templates/!(tensorflow)/**/*.test.ts'])
  : undefined
const wanted = isAll ? ['test/*.test.ts', 'test/{deploy,engines,faults,flows,wire}/**/*.test.ts'] : patterns
const files = wanted.flatMap((pattern) => globSync(pattern, { cwd: root })).map((path) => join(root, path))
if (files.length === 0) throw new Error(`No file fits ${patterns.join(' ')}`)
const tests = run({
  // No long one is left to run alone at the end. `node --test` would sort them by name.
  files: [...slowestFirst(files), ...(groups?.files ?? [])],
  // Three for each core of CI: with two, a third of the cores' time was spent waiting, because the programs of a test wait for
  // each other, for pauses and for the disk. No test has a limit that depends on the load.
  concurrency: 6,
  execArgv: [
    ...['--conditions=source', '--disable-warning=ExperimentalWarning'],
    // A test that hangs fails by itself. Tests that wait for Python's pauses take up to four minutes.
    '--test-timeout=600000',
    // So does a file that does not end after its tests.
    `--import=${pathToFileURL(join(import.meta.dirname, 'test-file-limit.ts')).href}`,
  ],
})
tests.on('test:summary', ({ success }) => {
  if (!success) process.exitCode = 1
})
for await (const text of tests.compose(spec)) process.stdout.write(text as string)
