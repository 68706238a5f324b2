import { type ExecFileException, execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** step-ca, built from the Go module proxy, whose modules Go checks against its checksum database. */
const source = join(import.meta.dirname, 'step-ca')
const [, version = ''] = /certificates (v\S+)/.exec(readSource('go.mod')) ?? []
const cache = join(import.meta.dirname, '..', '.cache')
const flags = [
  '-mod=mod',
  '-modcacherw',
  '-buildvcs=false',
  '-tags=nobadger,nomysql,nopgx',
  '-gcflags=all=-N -l',
  '-ldflags=-s -w',
]
/** A program that was built from something else is not used. */
const hash = createHash('sha256').update(JSON.stringify([readSource('go.mod'), readSource('main.go'), flags]))
const folder = join(cache, `step-ca-${version}-${hash.digest('hex').slice(0, 12)}`)
const program = join(folder, 'step-ca')

/**
 * Builds it in `.cache/` if it is missing, while other things are prepared, because that takes a minute. Without Go this
 * prints a message, and the test that needs it is skipped; with Go, a build that fails is an error in CI.
 */
export async function prepareStepCa(): Promise<Record<string, string>> {
  try {
    if (!existsSync(program)) await build()
    return { TRELLIS_STEP_CA: program }
  } catch (error) {
    const hasGo = (error as ExecFileException).code !== 'ENOENT'
    if (process.env.CI === 'true' && hasGo) throw error
    const reason = hasGo ? String(error).split('\n').at(-1) : 'there is no Go'
    process.stdout.write(`The test with step-ca is skipped: it cannot be built: ${reason}\n`)
    return {}
  }
}

/** Without optimisation, and without databases that no test uses: both take longer to compile than the test runs. */
async function build(): Promise<void> {
  const work = join(cache, `step-ca.${process.pid}`)
  try {
    cpSync(source, work, { recursive: true })
    await promisify(execFile)('go', ['build', ...flags, '-o', 'step-ca', '.'], {
      cwd: work,
      timeout: 900_000,
      env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '' },
    })
    mkdirSync(folder, { recursive: true })
    renameSync(join(work, 'step-ca'), program)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function readSource(name: string): string {
  return readFileSync(join(source, name), 'utf8')
}
