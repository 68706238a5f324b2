import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { prepareChromium } from './chromium.ts'
import { prepareDeployTools } from './deploy-tools.ts'
import { preparePython } from './python.ts'
import { prepareStepCa } from './step-ca.ts'
import { prepareStunnel } from './stunnel.ts'

/** Runs the tests: all but the matrix with Python Flower (`npm run test:interop`), or those of the patterns that are given. */
const all = [
  'src/**/*.test.ts',
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
// Beside Python's programs, which mostly wait, one file more than there are cores in CI.
const atOnce = withInterop ? 3 : 2
// A test that hangs fails by itself, long before whoever runs them loses patience.
const limits = [`--test-concurrency=${atOnce}`, '--test-timeout=300000']
const tests = spawn(process.execPath, [...args, ...limits, ...(patterns.length > 0 ? patterns : all)], {
  stdio: 'inherit',
  env: { ...process.env, ...python, ...deployTools, ...chromium, ...stunnel, ...stepCa },
})
const [status] = (await once(tests, 'exit')) as [number | null]
process.exitCode = status ?? 1
