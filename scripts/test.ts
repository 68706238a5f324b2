import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { prepareChromium } from './chromium.ts'
import { prepareDeployTools } from './deploy-tools.ts'
import { preparePython } from './python.ts'
import { prepareStepCa } from './step-ca.ts'
import { prepareStunnel } from './stunnel.ts'

/** Runs the tests: all but the matrix with Python Flower (`npm run test:interop`), or those of the patterns that are given. */
const all = [
  'src/**/*.test.ts',
  'templates/**/*.test.ts',
  'examples/**/*.test.ts',
  'test/*.test.ts',
  'test/{deploy,faults,flows,wire}/**/*.test.ts',
]
const patterns = process.argv.slice(2)

const withInterop = patterns.some((pattern) => pattern.includes('interop'))
const building = withInterop ? prepareStepCa() : {}
const python = await preparePython()
const withoutDeploy = patterns.length > 0 && patterns.every((pattern) => !pattern.includes('deploy'))
const deployTools = withoutDeploy ? {} : await prepareDeployTools()
const withBrowser = patterns.length === 0 || patterns.some((pattern) => /flows|dashboard/.test(pattern))
const chromium = withBrowser ? prepareChromium() : {}
const stunnel = withInterop ? prepareStunnel() : {}
const stepCa = await building
const args = ['--conditions=source', '--disable-warning=ExperimentalWarning', '--test']
// More than there are cores in CI, because programs of a test often wait for each other, and those of Python mostly.
const atOnce = withInterop ? 5 : 3
// Without it every start of a program, and every test file, would strip and compile the same modules again.
const compiled = { NODE_COMPILE_CACHE: join(import.meta.dirname, '..', '.cache', 'node-compile') }
// A test that hangs fails by itself, long before whoever runs them loses patience.
const limits = [`--test-concurrency=${atOnce}`, '--test-timeout=300000']
const tests = spawn(process.execPath, [...args, ...limits, ...(patterns.length > 0 ? patterns : all)], {
  stdio: 'inherit',
  env: { ...process.env, ...compiled, ...python, ...deployTools, ...chromium, ...stunnel, ...stepCa },
})
const [status] = (await once(tests, 'exit')) as [number | null]
process.exitCode = status ?? 1
