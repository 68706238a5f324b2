import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { clusterCache } from './cluster-programs.ts'
import { buildah, containersFolder, prepareContainers } from './containers.ts'

/** The images of `deploy/containers`, built as these files say, on bases that stand in for those of a registry. */

const execute = promisify(execFile)
const root = join(import.meta.dirname, '..', '..')
const npm = {
  name: 'npm@11.21.2',
  integrity: 'sha512-7HPApk+AflMUavSseL1Pm6CnYqMIHk53x+KmuhqmTDqPkjPMgxIpTPcTqsE91EKNw4gFBJV9fnXiSdGm1DXq9A==',
} as const
/** The tag of the images in the manifests. */
export const version: string = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
/** The images that the test runs, each of a Containerfile, and the tag that `docs/guides/kubernetes.md` gives it. */
const images = [
  { name: 'superlink', file: 'node', tag: version },
  { name: 'supernode', file: 'node', tag: version },
  { name: 'superexec', file: 'node', tag: version },
  { name: 'superexec', file: 'python', tag: `${version}-python` },
] as const
const certificates = '/etc/ssl/certs/ca-certificates.crt'

/** Builds the images that are missing or whose sources have changed: the first time takes some minutes of processor time. */
export async function prepareImages(): Promise<void> {
  await prepareContainers()
  const folder = join(clusterCache, 'bases')
  if (!existsSync(folder)) await layOutBase(folder)
  const file = join(import.meta.dirname, 'base.containerfile')
  for (const [target, tag] of [
    ['node', 'node:26-trixie-slim'],
    ['python', 'python:3.13-slim-trixie'],
  ] as const)
    await build({ file, target, tag: `docker.io/library/${tag}`, context: folder })
  for (const image of images)
    await build({
      file: join(root, 'deploy', 'containers', `${image.file}.Containerfile`),
      target: image.name,
      tag: `localhost/trellis/${image.name}:${image.tag}`,
      context: root,
    })
}

interface Build {
  readonly file: string
  readonly target: string
  readonly tag: string
  readonly context: string
}

/** Steps that need a registry of packages use the machine's network and the certificates that the machine trusts. */
function build({ file, target, tag, context }: Build): Promise<void> {
  const settings = containersFolder
  mkdirSync(settings, { recursive: true })
  writeFileSync(join(settings, 'npmrc'), `cafile=${certificates}\n`)
  writeFileSync(join(settings, 'pip.conf'), `[global]\ncert = ${certificates}\n`)
  const mounts = [
    `${certificates}:${certificates}:ro`,
    `${settings}/npmrc:/usr/local/etc/npmrc:ro`,
    `${settings}/pip.conf:/etc/pip.conf:ro`,
  ]
  return buildah([
    ...['bud', '--layers', '--pull=never', '--network=host', '--isolation=chroot', '--quiet'],
    ...mounts.map((mount) => `--volume=${mount}`),
    ...[`--file=${file}`, `--target=${target}`, `--tag=${tag}`, context],
  ])
}

/** Puts Debian 13, this Node and npm into the folder, which gets its name when all is there. */
async function layOutBase(complete: string): Promise<void> {
  const folder = `${complete}.${process.pid}`
  mkdirSync(folder, { recursive: true })
  try {
    await execute('mmdebstrap', [
      ...['--quiet', '--variant=minbase', '--include=ca-certificates'],
      // A system that can be made again is not synced to the disk: on a busy one that takes minutes.
      ...['--dpkgopt=force-unsafe-io', 'trixie', join(folder, 'trixie.tar')],
    ])
    cpSync(process.execPath, join(folder, 'node'))
    await unpackNpm(folder)
    renameSync(folder, complete)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function unpackNpm(folder: string): Promise<void> {
  const { stdout } = await execute('npm', ['pack', '--silent', npm.name], { cwd: folder })
  const packed = stdout.trim()
  const digest = createHash('sha512')
    .update(readFileSync(join(folder, packed)))
    .digest('base64')
  if (npm.integrity !== `sha512-${digest}`) throw new Error(`${npm.name} is not what it was`)
  await execute('tar', ['-xzf', packed], { cwd: folder })
  renameSync(join(folder, 'package'), join(folder, 'npm'))
  rmSync(join(folder, packed))
}
