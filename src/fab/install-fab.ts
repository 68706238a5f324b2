import { lstat, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { contentPath, sha256 } from './content-list.ts'
import type { Manifest } from './pyproject.ts'
import { type OpenedFab, readFab } from './read-fab.ts'
import { invalid } from './read-members.ts'

/**
 * Unpacks a bundle to `HOME/apps/PUBLISHER.NAME.VERSION.HASH8`, as a whole or not at all. A folder that exists is used if it
 * holds this very bundle, file by file. If it holds another one, whose hash begins alike, this one goes to a folder with the
 * whole hash in its name. Throws `fab-invalid`.
 */
export async function installFab(
  bytes: Uint8Array,
  home: string,
  expectedHash?: string,
): Promise<{ directory: string; manifest: Manifest; installed: boolean }> {
  const fabHash = sha256(bytes)
  if (expectedHash !== undefined && fabHash !== expectedHash)
    throw invalid('its bytes have another hash than announced')
  const fab = await readFab(bytes)
  const { manifest } = fab
  const apps = join(home, 'apps')
  const name = `${manifest.publisher}.${manifest.name}.${manifest.version}`
  for (const shown of [fabHash.slice(0, 8), fabHash]) {
    const directory = join(apps, `${name}.${shown}`)
    // The names were checked when the bundle was read; this holds even if that check has a gap.
    if (dirname(directory) !== apps) throw invalid('its names point outside of the folder for apps')
    if (await exists(directory)) {
      if (await holds(directory, fab)) return { directory, manifest, installed: false }
      continue
    }
    if (await unpack(fab, directory)) return { directory, manifest, installed: true }
    // Another process has installed an app there in the meantime.
    if (await holds(directory, fab)) return { directory, manifest, installed: false }
  }
  throw invalid(`${join(apps, `${name}.${fabHash}`)} was changed after it was installed: remove that folder`)
}

/** Returns whether the folder was created. It appears with all its files at once. */
async function unpack(fab: OpenedFab, directory: string): Promise<boolean> {
  await mkdir(dirname(directory), { recursive: true })
  const unpacking = await mkdtemp(join(dirname(directory), '.installing-'))
  try {
    for (const [path, content] of filesOf(fab)) {
      const target = join(unpacking, path)
      if (!target.startsWith(unpacking + sep)) throw invalid(`'${path}' points outside of the archive`)
      await mkdir(dirname(target), { recursive: true })
      await writeFile(target, content)
    }
    await rename(unpacking, directory)
    return true
  } catch (error) {
    await rm(unpacking, { recursive: true, force: true })
    if (await exists(directory)) return false
    throw error
  }
}

/** Whether every file of the bundle is in the folder, with the same bytes. Other files may be there: caches, an environment. */
async function holds(directory: string, fab: OpenedFab): Promise<boolean> {
  for (const [path, content] of filesOf(fab)) {
    const file = join(directory, path)
    const stats = await lstat(file).catch(() => undefined)
    if (!stats?.isFile() || stats.size !== content.length) return false
    if (!(await readFile(file)).equals(content)) return false
  }
  return true
}

function filesOf({ members }: OpenedFab): [string, Uint8Array][] {
  return [...members].filter(([path]) => path !== contentPath)
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}
