import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isDebian12 } from '../../scripts/stunnel.ts'
import { clusterCache, missingForUsers } from './cluster-programs.ts'

/** Podman and buildah of Debian, with a store of images of their own. */

const execute = promisify(execFile)
const packages = ['buildah', 'conmon', 'iproute2', 'mmdebstrap', 'podman', 'runc'] as const

/** Returns what is missing here and how to get it, or `undefined`. */
export function missingForContainers(): string | undefined {
  if (isDebian12()) return missingForUsers()
  return 'Debian 12 on x86-64 is missing, whose podman is used: run it in a machine of that system.'
}

/** Installs the packages that are missing. */
export async function prepareContainers(): Promise<void> {
  const isInstalled = (name: string): boolean =>
    spawnSync('dpkg-query', ['--status', name], { encoding: 'utf8' }).stdout.includes('Status: install ok installed')
  const missing = packages.filter((name) => !isInstalled(name))
  if (missing.length > 0) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    await execute('apt-get', ['update', '-qq'], { env })
    await execute('apt-get', ['install', '--yes', '-qq', '--no-install-recommends', ...missing], { env })
  }
}

/** Removes the containers of this store, which an interrupted test or build left behind, and unmounts their files. */
export function removeContainers(): void {
  if (!existsSync(containersFolder) || spawnSync('podman', ['--version']).status !== 0) return
  podman('rm', '--all', '--force', '--time=0')
  spawnSync('buildah', ['rm', '--all'], { env: containersEnvironment(), stdio: 'ignore', timeout: 300_000 })
}

/** Settings, and the store of images. */
export const containersFolder = join(clusterCache, 'containers')

/** Not part of the cache: what a restart of the machine ends. Each store has its own folder. */
export function runtimeFolder(): string {
  const hash = createHash('sha256').update(containersFolder).digest('hex')
  return `/run/trellis-cluster-${hash.slice(0, 8)}`
}

/** Returns the environment in which podman and buildah use the store of this test and nothing of the machine's. */
export function containersEnvironment(): NodeJS.ProcessEnv {
  mkdirSync(containersFolder, { recursive: true })
  const folder = realpathSync(containersFolder)
  const running = runtimeFolder()
  const write = (name: string, lines: readonly string[]): string => {
    const path = join(folder, name)
    const text = `${lines.join('\n')}\n`
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text)
    return path
  }
  const storage = [
    ...['[storage]', 'driver = "overlay"', `graphroot = "${folder}/store"`, `runroot = "${running}"`],
    // A mounted store could not be removed.
    ...['[storage.options.overlay]', 'skip_mount_home = "true"'],
  ]
  const containers = [
    '[containers]',
    // The default limits are above those of a root without CAP_SYS_RESOURCE.
    'default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]',
    '[engine]',
    // Debian's default, crun, starts nothing on machines with both versions of cgroups.
    ...['runtime = "runc"', 'cgroup_manager = "cgroupfs"', 'events_logger = "none"', `tmp_dir = "${running}/podman"`],
  ]
  return {
    ...process.env,
    CONTAINERS_STORAGE_CONF: write('storage.conf', storage),
    CONTAINERS_CONF: write('containers.conf', containers),
  }
}

/** Runs podman to its end and returns its standard output. Throws with what it printed unless it succeeds. */
export function podman(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('podman', args, {
    ...{ env: containersEnvironment(), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 300_000 },
  })
  if (status === 0) return stdout.trim()
  throw new Error(`podman ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`)
}

/** Builds an image. */
export async function buildah(args: readonly string[]): Promise<void> {
  await execute('buildah', args, { env: containersEnvironment(), maxBuffer: 64 * 1024 * 1024 })
}
