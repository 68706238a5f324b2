import { type ExecFileException, execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** step-ca, built from the Go module proxy, which checks what it hands out. */
const source = join(import.meta.dirname, 'step-ca')
const [, version = ''] = /certificates (v\S+)/.exec(readFileSync(join(source, 'go.mod'), 'utf8')) ?? []
const cache = join(import.meta.dirname, '..', '.cache')
const folder = join(cache, `step-ca-${version}`)
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
  cpSync(source, work, { recursive: true })
  const flags = [
    '-mod=mod',
    '-modcacherw',
    '-buildvcs=false',
    '-tags=nobadger,nomysql,nopgx',
    '-gcflags=all=-N -l',
    '-ldflags=-s -w',
  ]
  await promisify(execFile)('go', ['build', ...flags, '-o', 'step-ca', '.'], {
    cwd: work,
    timeout: 900_000,
    env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '' },
  })
  mkdirSync(folder, { recursive: true })
  renameSync(join(work, 'step-ca'), program)
  rmSync(work, { recursive: true })
}
