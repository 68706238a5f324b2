import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { bundlePrograms } from './bundle-programs.ts'

const root = join(import.meta.dirname, '..')
const cache = join(root, '.cache', 'programs')
/** What a release has beside `bin` and `dist`, and the demo. */
const linked = ['examples', 'node_modules', 'package.json', 'proto', 'scripts', 'share', 'templates']
const keptMs = 24 * 60 * 60_000

/**
 * Bundles the programs for tests, laid out as in a release, and returns the folder that holds them, as `bin/` does. Names of
 * folders tell their content, so runs of tests at the same time do not disturb each other.
 */
export async function buildTestPrograms(): Promise<string> {
  const files = await bundlePrograms()
  const hash = createHash('sha256').update([root, ...linked].join())
  for (const name of readdirSync(join(root, 'bin'))) hash.update(readFileSync(join(root, 'bin', name)))
  for (const [path, content] of files) hash.update(path).update(content)
  const folder = join(cache, hash.digest('hex').slice(0, 16))
  if (!existsSync(folder)) write(folder, files)
  removeOld(folder)
  return join(folder, 'bin')
}

function write(folder: string, files: ReadonlyMap<string, Uint8Array | string>): void {
  const unfinished = `${folder}.${process.pid}`
  for (const [path, content] of files) {
    const file = join(unfinished, 'dist', path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content)
  }
  cpSync(join(root, 'bin'), join(unfinished, 'bin'), { recursive: true })
  for (const name of linked) symlinkSync(join(root, name), join(unfinished, name))
  try {
    renameSync(unfinished, folder)
  } catch (error) {
    // Another run of tests was faster.
    rmSync(unfinished, { recursive: true })
    if (!existsSync(folder)) throw error
  }
}

/** A day later no run of tests uses them any more. */
function removeOld(current: string): void {
  for (const name of readdirSync(cache)) {
    const folder = join(cache, name)
    // Another run of tests may remove it at the same time.
    const changedAt = statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY
    if (folder !== current && changedAt < Date.now() - keptMs) rmSync(folder, { recursive: true, force: true })
  }
}
