import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { prepareDeployTools } from '../deploy-tools.ts'
import { runQuietly } from './run-quietly.ts'

/** Builds each file of a release into one folder. */

export const root = join(import.meta.dirname, '..', '..')

export interface Artifact {
  readonly file: string
  readonly what: string
  readonly bytes: number
  readonly sha256: string
}

/** Files by their purpose. */
export interface Built {
  readonly npm: string
  readonly sdk: string
  readonly chart: string
  readonly manifests: string
  readonly source: string
  readonly all: readonly Artifact[]
  /** The folder of kubectl and helm. */
  readonly tools: string
}

/** Builds everything into `out`, which is emptied first, and writes SHA256SUMS. */
export async function buildAll(out: string, version: string): Promise<Built> {
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  const { TRELLIS_DEPLOY_TOOLS: tools } = await prepareDeployTools()
  if (tools === undefined) throw new Error('helm is needed to package the chart: release on Linux on x86-64.')

  const npm = pack(out, '.')
  const sdk = pack(out, './packages/sdk')
  runQuietly(join(tools, 'helm'), ['package', 'deploy/helm/trellis', '--destination', out], { cwd: root })
  // Charts and npm packages have names of the same shape.
  const chart = `trellis-chart-${version}.tgz`
  renameSync(join(out, `trellis-${version}.tgz`), join(out, chart))
  const manifests = archive(out, `trellis-manifests-${version}`, ['deploy/kubernetes', 'deploy/systemd'])
  // The files that git knows: exactly those that `.dockerignore` lets a builder see.
  const source = archive(out, `trellis-${version}`, ['.'])
  const shell = archive(out, `trellis-man-and-completions-${version}`, ['share'])
  runQuietly('npm', ['run', '--silent', 'docs:site'], { cwd: root })
  const docs = `trellis-docs-${version}.tar.gz`
  runQuietly('tar', ['-czf', join(out, docs), '--sort=name', '--owner=0', '--group=0', '-C', 'docs-site/dist', '.'], {
    cwd: root,
  })
  const kinds: readonly (readonly [file: string, what: string])[] = [
    [npm, 'npm package: programs and SDK'],
    [billOfMaterials(out, npm), 'its software bill of materials (CycloneDX)'],
    [sdk, 'npm package: the SDK alone, with its reference'],
    [billOfMaterials(out, sdk), 'its software bill of materials (CycloneDX)'],
    [chart, 'Helm chart'],
    [manifests, 'kustomize manifests and systemd units'],
    [source, 'source: the build context of the images'],
    [shell, 'man pages and shell completions'],
    [docs, 'documentation site'],
  ]
  const all = kinds.map(([file, what]) => {
    const content = readFileSync(join(out, file))
    const sha256 = createHash('sha256').update(content).digest('hex')
    return { file, what, bytes: statSync(join(out, file)).size, sha256 }
  })
  writeFileSync(join(out, 'SHA256SUMS'), all.map(({ file, sha256 }) => `${sha256}  ${file}\n`).join(''))
  return { npm, sdk, chart, manifests, source, all, tools }
}

function pack(out: string, folder: string): string {
  const said = runQuietly('npm', ['pack', '--silent', '--pack-destination', out, folder], { cwd: root })
  return said.trim().split('\n').at(-1) as string
}

function archive(out: string, name: string, paths: readonly string[]): string {
  const file = `${name}.tar.gz`
  runQuietly('git', ['archive', '--format=tar.gz', `--prefix=${name}/`, '-o', join(out, file), 'HEAD', ...paths], {
    cwd: root,
  })
  return file
}

/** Lists what an installed package brings, by npm itself, at the versions of the repository's lock file. */
function billOfMaterials(out: string, packed: string): string {
  const temporary = mkdtempSync(join(tmpdir(), 'trellis-sbom-'))
  // npm names the whole after its folder.
  const folder = join(temporary, packed.replace(/-\d.*$/, ''))
  try {
    mkdirSync(folder)
    runQuietly('tar', ['-xzf', join(out, packed), '--strip-components=1', '-C', folder, 'package/package.json'])
    writeFileSync(join(folder, 'package-lock.json'), readFileSync(join(root, 'package-lock.json')))
    runQuietly('npm', ['install', '--package-lock-only', '--omit=dev', '--prefer-offline', ...quiet], { cwd: folder })
    const said = runQuietly(
      'npm',
      ['sbom', '--package-lock-only', '--omit=dev', '--sbom-format=cyclonedx', '--sbom-type=application'],
      { cwd: folder },
    )
    const file = packed.replace(/\.tgz$/, '.cdx.json')
    writeFileSync(join(out, file), said)
    return file
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

export const quiet = ['--no-audit', '--no-fund', '--ignore-scripts'] as const
