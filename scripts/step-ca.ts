import { type ExecFileException, execFile } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** A CA that people run, from the Go module proxy, whose checksums its database vouches for. */
const version = 'v0.30.2'
const cache = join(import.meta.dirname, '..', '.cache')
const folder = join(cache, `step-ca-${version}`)
const program = join(folder, 'step-ca')

/**
 * Builds it under `.cache/` where it is missing, beside other preparations, for that takes a minute or two. Where there is
 * no Go it says so, and the test that needs it skips; where there is, a build that fails is an error in CI.
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

async function build(): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const bin = join(cache, `step-ca.${process.pid}`)
  await promisify(execFile)('go', ['install', `github.com/smallstep/certificates/cmd/step-ca@${version}`], {
    cwd: cache,
    timeout: 900_000,
    env: { ...process.env, CGO_ENABLED: '0', GOBIN: bin, GOFLAGS: '-modcacherw' },
  })
  renameSync(join(bin, 'step-ca'), program)
  rmSync(bin, { recursive: true })
}
