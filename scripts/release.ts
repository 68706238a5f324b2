import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Artifact, buildAll, root } from './release/artifacts.ts'
import { runQuietly } from './release/run-quietly.ts'
import { tryOut } from './release/try-out.ts'
import { type Read, unreleased, versionFaults, versionOf } from './release/versions.ts'

/**
 * `npm run release -- --dry-run` builds everything that would be published into `.cache/release`, checks it by installing
 * it, and lists it. `npm run release -- --registry URL` then also publishes the two npm packages there.
 */

const read: Read = (path) => readFileSync(join(root, path), 'utf8')
const out = join(root, '.cache', 'release')

try {
  const { values } = parseArgs({ options: { 'dry-run': { type: 'boolean' }, registry: { type: 'string' } } })
  await release(values['dry-run'] === true, values.registry)
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

async function release(isDryRun: boolean, registry: string | undefined): Promise<void> {
  if (!isDryRun && registry === undefined)
    throw new Error(
      'Nothing was published: add --dry-run to build and check a release, or --registry URL to publish it.',
    )
  const version = versionOf(read)
  const date = unreleased(read)
  const faults = [...versionFaults(read), ...(!isDryRun && date ? [date] : []), ...uncommitted()]
  if (faults.length > 0) throw new Error(faults.join('\n'))

  process.stdout.write(`Building Trellis ${version}.\n`)
  const built = await buildAll(out, version)
  process.stdout.write('Installing it elsewhere and running its programs.\n')
  tryOut(out, version, built)
  process.stdout.write(`${table(built.all)}\nThe files are in ${out}, with SHA256SUMS.\n`)
  if (isDryRun || registry === undefined) {
    if (date) process.stdout.write(`Before publishing: ${date}\n`)
    process.stdout.write('Nothing was published.\n')
    return
  }
  for (const file of [built.sdk, built.npm]) runQuietly('npm', ['publish', join(out, file), '--registry', registry])
  process.stdout.write(
    `Published ${built.npm} and ${built.sdk} at ${registry}. Upload the other files to their places.\n`,
  )
}

/** What is built is what is committed, so anyone can build it again. */
function uncommitted(): string[] {
  const changed = runQuietly('git', ['status', '--porcelain'], { cwd: root }).trim()
  return changed === '' ? [] : [`The work tree has changes that are not committed: commit them first.\n${changed}`]
}

function table(artifacts: readonly Artifact[]): string {
  const width = Math.max(...artifacts.map(({ file }) => file.length))
  return artifacts
    .map(
      ({ file, what, bytes, sha256 }) =>
        `${file.padEnd(width)}  ${(bytes / 1024).toFixed(0).padStart(6)} kB  ${what}\n  sha256 ${sha256}\n`,
    )
    .join('')
}
