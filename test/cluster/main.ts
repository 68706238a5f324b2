import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { parseArgs } from 'node:util'
import { prepareDeployTools } from '../../scripts/deploy-tools.ts'
import { missingForCluster, missingForUsers, prepareCluster } from './cluster-programs.ts'
import { missingForContainers } from './containers.ts'
import { prepareImages } from './images.ts'
import { removeCache, removeLeftovers } from './leftovers.ts'

/**
 * `npm run test:cluster` runs the deployment files for real, in levels; `--only A` runs one, and `--cold` first removes what
 * earlier runs fetched and built. A level whose programs are not here is skipped with a message that says how to get them.
 */
interface Level {
  readonly name: string
  readonly what: string
  readonly file: string
  readonly missing: () => string | undefined
  /** Fetches and builds what the level needs, if it is not there. */
  readonly prepare: () => Promise<void>
}

const levels: readonly Level[] = [
  {
    name: 'A',
    what: 'an API server accepts the overlays and the chart',
    file: 'manifests.test.ts',
    missing: missingForCluster,
    prepare: prepareCluster,
  },
  {
    name: 'B',
    what: 'cert-manager issues and renews certificates during a training',
    file: 'certificates.test.ts',
    missing: () => missingForCluster() ?? missingForUsers(),
    prepare: prepareCluster,
  },
  {
    name: 'C',
    what: 'images are built and run as the manifests say',
    file: 'images.test.ts',
    missing: missingForContainers,
    prepare: prepareImages,
  },
]

const { values } = parseArgs({ options: { cold: { type: 'boolean' }, only: { type: 'string' } } })
const wanted = levels.filter(({ name }) => values.only === undefined || name === values.only.toUpperCase())
if (wanted.length === 0) {
  process.stderr.write(`There is no level ${values.only}: choose from ${levels.map(({ name }) => name).join(', ')}.\n`)
  process.exit(1)
}
removeLeftovers()
if (values.cold) removeCache()
const tools = await prepareDeployTools()
Object.assign(process.env, tools)
const times: string[] = []
if (Object.keys(tools).length > 0) {
  const runnable = wanted.filter(({ name, what, missing }) => {
    const reason = missing()
    if (reason !== undefined) times.push(`Level ${name} (${what}) is skipped: ${reason}`)
    return reason === undefined
  })
  await prepareLevels(runnable)
  for (const level of runnable) await runLevel(level)
}
process.stdout.write(`${['', ...times].join('\n')}\n`)

/** Prepares all levels at once: while one waits for the network, the other builds. */
async function prepareLevels(runnable: readonly Level[]): Promise<void> {
  const startedAt = performance.now()
  await Promise.all([...new Set(runnable.map(({ prepare }) => prepare))].map((prepare) => prepare()))
  if (runnable.length > 0) times.push(`Programs and images were ready after ${secondsSince(startedAt)} s`)
}

async function runLevel({ name, what, file }: Level): Promise<void> {
  process.stdout.write(`\nLevel ${name}: ${what}\n`)
  const startedAt = performance.now()
  const tests = run({
    files: [join(import.meta.dirname, file)],
    execArgv: ['--conditions=source', '--disable-warning=ExperimentalWarning', '--test-timeout=900000'],
  })
  tests.on('test:summary', ({ success }) => {
    if (!success) process.exitCode = 1
  })
  for await (const text of tests.compose(spec)) process.stdout.write(text as string)
  times.push(`Level ${name} (${what}) took ${secondsSince(startedAt)} s`)
}

function secondsSince(startedAt: number): string {
  return ((performance.now() - startedAt) / 1000).toFixed(0)
}
