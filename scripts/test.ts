import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { prepare } from './prepare.ts'
import { TestGroups } from './test-groups.ts'

/** Runs the tests: all but the matrix with Python Flower (`npm run test:interop`), or those of the patterns that are given. */
const patterns = process.argv.slice(2)
const isAll = patterns.length === 0
const interop = patterns.some((pattern) => pattern.includes('interop'))
const needed = await prepare({
  interop,
  deploy: isAll || patterns.some((pattern) => pattern.includes('deploy')),
  browser: isAll || patterns.some((pattern) => /flows|dashboard/.test(pattern)),
})
const args = ['--conditions=source', '--disable-warning=ExperimentalWarning', '--test']
// More than there are cores in CI, because programs of a test often wait for each other, and those of Python mostly.
const atOnce = interop ? 5 : 3
// Without it every start of a program, and every test file, would strip and compile the same modules again.
const compiled = { NODE_COMPILE_CACHE: join(import.meta.dirname, '..', '.cache', 'node-compile') }
// A test that hangs fails by itself, before a person or CI gives up.
const limits = [`--test-concurrency=${atOnce}`, '--test-timeout=300000']
using groups = isAll
  ? new TestGroups(['src/**/*.test.ts', 'examples/**/*.test.ts', 'templates/!(tensorflow)/**/*.test.ts'])
  : undefined
const files = groups ? [...groups.files, 'test/*.test.ts', 'test/{deploy,faults,flows,wire}/**/*.test.ts'] : patterns
const tests = spawn(process.execPath, [...args, ...limits, ...files], {
  stdio: 'inherit',
  env: { ...process.env, ...compiled, ...needed },
})
const [status] = (await once(tests, 'exit')) as [number | null]
process.exitCode = status ?? 1
