import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from '../../base/errors.ts'

const markerName = 'cache.json'

/**
 * Takes a folder for copies of the objects of a bucket. Copies are removed if they are those of another bucket, or if the
 * machine was restarted since: nothing waits until they are on disk. Throws a UsageError if the folder has objects that may
 * be the only ones.
 */
export async function claimCacheFolder(directory: string, label: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, markerName)
  const wanted = `${JSON.stringify({ copiesOf: label, boot: await bootId() })}\n`
  const found = await readFile(path, 'utf8').catch(() => undefined)
  if (found === wanted && !found.includes('unknown')) return
  const shards = (await readdir(directory)).filter((name) => /^[0-9a-f]{2}$/.test(name))
  if (found === undefined && shards.length > 0)
    throw new UsageError(
      `The folder ${directory} has objects that are not copies of those in ${label}: name another folder for copies with --storage-dir.`,
    )
  for (const shard of shards) await rm(join(directory, shard), { recursive: true, force: true })
  await writeFile(path, wanted, { mode: 0o600 })
}

/** Changes with each start of the machine. */
async function bootId(): Promise<string> {
  return readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
    (text) => text.trim(),
    () => 'unknown',
  )
}
