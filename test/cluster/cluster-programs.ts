import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { unpackPackage } from '../../scripts/debian.ts'
import { isDebian12 } from '../../scripts/stunnel.ts'

/** The programs of a real cluster: etcd from Debian, kube-apiserver and cert-manager's controllers built from source. */

const execute = promisify(execFile)
const source = join(import.meta.dirname, 'programs')
/** Everything that the levels fetch and build: without it they start from nothing. */
export const clusterCache = join(import.meta.dirname, '..', '..', '.cache', 'cluster')
const read = (name: string): string => readFileSync(join(source, name), 'utf8')
const [version = '', major = '', minor = ''] = /(?<=kubernetes )v(\d+)\.(\d+)\.\d+/.exec(read('go.mod')) ?? []
const stamp = 'k8s.io/component-base/version'
const flags = [
  ...['-mod=mod', '-modcacherw', '-buildvcs=false', '-gcflags=all=-N -l'],
  // Clients reject an API server of version 0.
  `-ldflags=-s -w -X ${stamp}.gitVersion=${version} -X ${stamp}.gitMajor=${major} -X ${stamp}.gitMinor=${minor}`,
]
const hash = createHash('sha256').update(JSON.stringify([read('go.mod'), read('cert-manager/main.go'), flags]))
const built = join(clusterCache, `programs-${version}-${hash.digest('hex').slice(0, 12)}`)
const etcd = join(clusterCache, 'etcd-1')

export interface ClusterPrograms {
  readonly etcd: string
  readonly apiServer: string
  readonly certManager: string
  /** The folder of cert-manager's CustomResourceDefinitions. */
  readonly definitions: string
}

/** Returns what is missing here and how to get it, or `undefined`. */
export function missingForCluster(): string | undefined {
  if (!isDebian12()) return 'Debian 12 on x86-64 is missing, whose etcd is used: run it in a container of that image.'
  if (existsSync(built) || spawnSync('go', ['version']).status === 0) return undefined
  return 'Go 1.26 is missing, which builds kube-apiserver and cert-manager: https://go.dev/dl has it.'
}

/** Returns what is missing to run programs as the users of pods, or `undefined`. */
export function missingForUsers(): string | undefined {
  if (process.getuid?.() !== 0) return 'root is missing, which runs programs as the users of pods: run it as root.'
  const tried = spawnSync('unshare', ['--mount', '--net', 'true'])
  if (tried.status === 0) return undefined
  return 'name spaces cannot be created: run it outside of a container, or in a privileged one.'
}

export const clusterPrograms: ClusterPrograms = {
  etcd: join(etcd, 'usr', 'bin', 'etcd'),
  apiServer: join(built, 'kube-apiserver'),
  certManager: join(built, 'cert-manager'),
  definitions: join(built, 'definitions'),
}

/** Builds or unpacks the programs in `.cache/` if they are not there: the first time takes ten minutes of processor time. */
export async function prepareCluster(): Promise<void> {
  if (!existsSync(etcd)) unpackPackage('etcd-server', etcd, /^etcd-server$/)
  if (!existsSync(built)) await build()
}

/** Go's own caches stay until the build is complete: one that was interrupted goes on where it was. */
async function build(): Promise<void> {
  const [work, goFolder] = [`${built}.${process.pid}`, join(clusterCache, 'go')]
  const env = {
    ...process.env,
    ...{ CGO_ENABLED: '0', GOFLAGS: '', GOPATH: join(goFolder, 'path'), GOCACHE: join(goFolder, 'cache') },
  }
  const go = async (...args: string[]): Promise<string> => {
    const { stdout } = await execute('go', args, { cwd: work, env, maxBuffer: 64 * 1024 * 1024 })
    return stdout.trim()
  }
  cpSync(source, work, { recursive: true })
  try {
    const output = join(work, 'built')
    mkdirSync(output)
    await go('build', ...flags, '-o', output, './cert-manager', 'k8s.io/kubernetes/cmd/kube-apiserver')
    const module = await go('list', '-mod=mod', '-m', '-f={{.Dir}}', 'github.com/cert-manager/cert-manager')
    cpSync(join(module, 'deploy', 'crds'), join(output, 'definitions'), { recursive: true })
    renameSync(output, built)
    rmSync(goFolder, { recursive: true, force: true })
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
