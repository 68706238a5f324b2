import { type ExecFileException, execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface GoProgram {
  /** Of the program, and of the folder beside this file with its `go.mod` and `main.go`. */
  readonly name: string
  /** The module whose version is that of the program. */
  readonly module: string
  readonly flags: readonly string[]
}

const cache = join(import.meta.dirname, '..', '.cache')

/**
 * Builds a program from the Go module proxy, whose modules Go checks against its checksum database, unless `.cache/` has it.
 * Returns its path. Without Go this prints a message, and the tests that need the program are skipped; with Go, a build that
 * fails is an error in CI.
 */
export async function prepareGoProgram({ name, module, flags }: GoProgram): Promise<string | undefined> {
  const source = join(import.meta.dirname, name)
  const read = (file: string): string => readFileSync(join(source, file), 'utf8')
  const [, version = ''] = new RegExp(`${module} (v\\S+)`).exec(read('go.mod')) ?? []
  /** A program that was built from something else is not used. */
  const hash = createHash('sha256').update(JSON.stringify([read('go.mod'), read('main.go'), flags]))
  const folder = join(cache, `${name}-${version}-${hash.digest('hex').slice(0, 12)}`)
  const program = join(folder, name)
  try {
    if (!existsSync(program)) await build(name, flags, { source, folder })
    return program
  } catch (error) {
    const hasGo = (error as ExecFileException).code !== 'ENOENT'
    if (process.env.CI === 'true' && hasGo) throw error
    const reason = hasGo ? String(error).split('\n').at(-1) : 'there is no Go'
    process.stdout.write(`The tests with ${name} are skipped: it cannot be built: ${reason}\n`)
    return undefined
  }
}

async function build(
  name: string,
  flags: readonly string[],
  { source, folder }: { readonly source: string; readonly folder: string },
): Promise<void> {
  const work = join(cache, `${name}.${process.pid}`)
  try {
    cpSync(source, work, { recursive: true })
    await promisify(execFile)('go', ['build', ...flags, '-o', name, '.'], {
      cwd: work,
      timeout: 900_000,
      env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '' },
    })
    mkdirSync(folder, { recursive: true })
    renameSync(join(work, name), join(folder, name))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
