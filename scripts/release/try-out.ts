import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Built, quiet, root } from './artifacts.ts'
import { runQuietly } from './run-quietly.ts'

/** Installs the built files in a folder elsewhere and uses them. Throws with the reason if one does not work. */
export function tryOut(out: string, version: string, built: Built): void {
  const folder = mkdtempSync(join(tmpdir(), 'trellis-release-'))
  try {
    tryPrograms(folder, out, version, built)
    tryDeployFiles(folder, out, version, built)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function tryPrograms(folder: string, out: string, version: string, { npm, sdk }: Built): void {
  const user = join(folder, 'user')
  const env = environment(user)
  install(user, { 'trellis-fl': `file:${join(out, npm)}` }, env)
  const run = (program: string, ...args: string[]): string =>
    runQuietly(join(user, 'node_modules', '.bin', program), args, { cwd: user, env })
  assert.match(run('flwr', '--version'), new RegExp(`Trellis ${version.replaceAll('.', '\\.')}`))
  for (const program of ['flower-superlink', 'flower-supernode', 'flower-superexec'])
    assert.match(run(program, '--help'), new RegExp(`^Usage: ${program}`, 'im'))

  const bill = readFileSync(join(out, npm.replace(/\.tgz$/, '.cdx.json')), 'utf8')
  const licences = readFileSync(join(user, 'node_modules', 'trellis-fl', 'dist', 'LICENSES.txt'), 'utf8')
  for (const [, name = '', bundled] of licences.matchAll(/(?:packages\.|-{80})\n\n(\S+) (\S+), /g))
    assert.ok(bill.includes(`pkg:npm/${name.replace('@', '%40')}@${bundled}`), `the bill of materials lacks ${name}`)

  run('flwr', 'new', 'my-app')
  const app = join(user, 'my-app')
  const { dependencies } = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8'))
  assert.equal(dependencies['trellis-fl'], `npm:trellis-fl-sdk@${version}`)
  install(app, { ...dependencies, 'trellis-fl': `file:${join(out, sdk)}` }, env)
  assert.match(runQuietly('npm', ['test'], { cwd: app, env }), /^. fail 0$/m)
  run('flwr', 'build', '--app', 'my-app')
}

/** The chart, the manifests and the build context, as they are in their archives. */
function tryDeployFiles(folder: string, out: string, version: string, built: Built): void {
  const { chart, manifests, source, tools } = built
  for (const file of [manifests, source]) runQuietly('tar', ['-xzf', join(out, file), '-C', folder])
  runQuietly(join(tools, 'helm'), ['template', 'trellis', join(out, chart)])
  for (const overlay of ['cert-manager', 'openshift-service-ca', 'spiffe-csi'])
    runQuietly(
      join(tools, 'kubectl'),
      ['kustomize', `trellis-manifests-${version}/deploy/kubernetes/overlays/${overlay}`],
      {
        cwd: folder,
      },
    )
  const context = join(folder, `trellis-${version}`)
  for (const kind of ['node', 'python'])
    for (const [, paths = ''] of readFileSync(
      join(context, `deploy/containers/${kind}.Containerfile`),
      'utf8',
    ).matchAll(/^COPY (?!--from)(.+) \S+$/gm))
      for (const path of paths.split(' ')) runQuietly('test', ['-e', join(context, path)])
}

/**
 * Installs packages from files, and the rest from npm's cache at the versions that `npm ci` of the repository fetched. The
 * registry is asked only for lists of versions that the cache lacks.
 */
function install(folder: string, dependencies: object, env: NodeJS.ProcessEnv): void {
  mkdirSync(folder, { recursive: true })
  const manifest = join(folder, 'package.json')
  const manifestFields = ((): object => {
    try {
      return JSON.parse(readFileSync(manifest, 'utf8'))
    } catch {
      return { name: 'elsewhere', private: true, type: 'module' }
    }
  })()
  writeFileSync(manifest, JSON.stringify({ ...manifestFields, dependencies, devDependencies: {} }))
  runQuietly('npm', ['install', '--package-lock-only', '--prefer-offline', ...quiet], { cwd: folder, env })
  runQuietly('npm', ['ci', '--offline', '--no-audit', '--no-fund'], { cwd: folder, env })
}

/** As in a new terminal: no program of the repository is on PATH. */
function environment(user: string): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _test, NODE_OPTIONS: _options, ...env } = process.env
  const outside = (env.PATH ?? '').split(':').filter((path) => !path.startsWith(`${root}/`))
  const kept = Object.entries(env).filter(([name]) => !/^npm_(?!config_(registry|cache|cafile))/.test(name))
  return {
    ...Object.fromEntries(kept),
    PATH: [join(user, 'node_modules', '.bin'), ...outside].join(':'),
    FLWR_HOME: join(user, 'home'),
    NO_COLOR: '1',
  }
}
