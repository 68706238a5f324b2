import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { programFolder, TestProgram } from '../harness/program.ts'
import type { Container, Pod } from './rendered.ts'
import { programOf } from './rules.ts'

/**
 * Runs a container of a manifest without a container runtime: in a mount name space of its own, in a root that no user
 * can write, as the user of the pod and without privileges, with its volumes where the manifest mounts them.
 */

/** The repository, or the folder of bundled programs. */
const trellis = dirname(programFolder)
const code = existsSync(join(trellis, 'src')) ? 'src' : 'dist'

/** For the option `skip` of a test: why containers cannot run here, or `false`. */
export const withoutContainers = ((): string | false => {
  const tried = spawnSync('unshare', ['--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /tmp && setpriv --version'])
  return tried.status === 0 ? false : 'mount name spaces need root on Linux, unshare and setpriv'
})()

/** In the test runner all containers share compiled modules. */
const compileCache = process.env.NODE_COMPILE_CACHE && `${process.env.NODE_COMPILE_CACHE}-containers`
const compileCacheMount = !compileCache
  ? []
  : ['mkdir "$root/compile-cache"', `mount --bind '${writableFolder(compileCache, 0o777)}' "$root/compile-cache"`]

export interface ContainerOptions {
  readonly pod: Pod
  /** The folder of each volume. */
  readonly volumes: ReadonlyMap<string, string>
  readonly args: readonly string[]
  /** A folder that belongs to this container alone: its root. */
  readonly folder: string
}

export function startContainer(container: Container, { pod, volumes, args, folder }: ContainerOptions): TestProgram {
  const { user, primaryGroup, group } = identityOf(pod)
  mkdirSync(folder, { recursive: true })
  const mounts = container.volumeMounts.map(({ name, mountPath, readOnly }) => {
    const from = volumes.get(name)
    if (from === undefined) throw new Error(`The volume ${name} is missing`)
    const target = `"$root${mountPath}"`
    return `mkdir -p ${target}; mount --bind '${from}' ${target}${readOnly ? `; mount -o remount,bind,ro ${target}` : ''}`
  })
  const setup = [
    'set -e',
    `root='${folder}'`,
    // The machine's programs and libraries stand in for the image's.
    'mount -t tmpfs -o mode=0755 tmpfs "$root"',
    'for name in bin dev etc lib lib64 proc sbin sys usr; do',
    '  if [ -L "/$name" ]; then cp -P "/$name" "$root/$name"',
    '  elif [ -d "/$name" ]; then mkdir "$root/$name"; mount --rbind "/$name" "$root/$name"; fi',
    'done',
    'mkdir -p "$root/opt/trellis"',
    `cp '${trellis}/package.json' "$root/opt/trellis/"`,
    ...['bin', 'examples', 'node_modules', 'proto', code].map(
      (name) => `mkdir "$root/opt/trellis/${name}"; mount --bind '${trellis}/${name}' "$root/opt/trellis/${name}"`,
    ),
    ...compileCacheMount,
    ...mounts,
    'mount -o remount,ro "$root"',
    // `exec` all the way: signals reach the program.
    'exec chroot "$root" "$@"',
  ]
  const groups = ['--regid', String(primaryGroup), '--groups', `${primaryGroup},${group}`]
  const identity = ['setpriv', '--reuid', String(user), ...groups]
  const limits = ['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all']
  const env = (container.env ?? []).map(({ name, value }) => `${name}=${value}`)
  const path = 'PATH=/opt/trellis/bin:/usr/bin:/bin'
  const cached = !compileCache ? [] : ['NODE_COMPILE_CACHE=/compile-cache']
  const environment = ['env', '-i', path, 'HOME=/app', 'LANG=C.UTF-8', 'FLWR_LOG_LEVEL=INFO', ...cached, ...env]
  const program = programOf(container.image)
  const command = [...identity, ...limits, ...environment, `/opt/trellis/bin/${program.name}`, ...args]
  const child = spawn('unshare', ['--mount', 'sh', '-c', setup.join('\n'), 'sh', ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH as string },
  })
  return new TestProgram(`${pod.name} ${container.name}`, child)
}

/** User and groups of a pod: its own, else those that OpenShift gives to a namespace, which have no names. */
export function identityOf(pod: Pod): { user: number; primaryGroup: number; group: number } {
  const { runAsUser, runAsGroup, fsGroup } = pod.spec.securityContext as Record<string, number | undefined>
  return { user: runAsUser ?? 1_000_680_000, primaryGroup: runAsGroup ?? 0, group: fsGroup ?? 1_000_680_000 }
}

/** Creates the folder of an emptyDir or a claim, to which the pod's group may write. */
export function writableFolder(path: string, mode: number): string {
  mkdirSync(path, { recursive: true })
  chmodSync(path, mode)
  return path
}
