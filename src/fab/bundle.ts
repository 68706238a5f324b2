import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { DomainError, errorText, UsageError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { componentLanguage } from './component.ts'
import { selectFiles } from './file-selection.ts'
import { type Manifest, readPyproject, type Table } from './pyproject.ts'
import { writeToml } from './toml-write.ts'
import { invalid, readZip } from './zip-read.ts'
import { writeStoredZip } from './zip-write.ts'

/** Flower App Bundles: one ZIP with an app's files, named by its hash. */

export interface BuiltFab {
  readonly bytes: Uint8Array
  /** Lowercase hexadecimal SHA-256 of the bytes. */
  readonly hash: string
  readonly manifest: Manifest
  /** As `flwr build` names the file. */
  readonly filename: string
  readonly warnings: readonly string[]
}

const contentPath = '.info/CONTENT'
/** What Flower's own SuperLinks take. */
const flowerFabBytesMax = 10 * 1024 * 1024

/** Builds the bundle of the app in `directory`; the same files give the same bytes. Throws a UsageError on faults. */
export function buildFab(directory: string): BuiltFab {
  const { manifest, warnings } = readAppFolder(directory)
  const languages = Object.values(manifest.components).map(componentLanguage)
  const paths = selectFiles(directory, {
    typescript: languages.includes('typescript'),
    include: manifest.fabInclude,
    exclude: manifest.fabExclude,
  })
  for (const reference of Object.values(manifest.components)) checkComponent(directory, reference, paths)
  const files: (readonly [string, Uint8Array])[] = [
    ['pyproject.toml', Buffer.from(writeToml(withoutFederations(manifest.toml)))],
    ...paths.map((path) => [path, readFileSync(join(directory, path))] as const),
  ]
  const content = files.map(([path, bytes]) => `${path},${sha256(bytes)},${bytes.length * 8}`).join('\n')
  const bytes = writeStoredZip([...files, [contentPath, Buffer.from(content)]])
  if (bytes.length > limits.fabBytesMax) {
    throw new UsageError(
      `The app is ${bytes.length} bytes, more than the ${limits.fabBytesMax} that a FAB may have: leave files out with .gitignore or fab-exclude.`,
    )
  }
  if (bytes.length > flowerFabBytesMax) warnings.push(`The FAB is larger than 10 MiB: SuperLinks of Flower refuse it.`)
  const fabHash = sha256(bytes)
  const { publisher, name, version } = manifest
  const filename = `${publisher}.${name}.${version.replaceAll('.', '-')}.${fabHash.slice(0, 8)}.fab`
  return { bytes, hash: fabHash, manifest, filename, warnings }
}

/** Checks a bundle as a stranger's and reads what it says of itself. Throws `fab-invalid`. */
export async function readFab(bytes: Uint8Array): Promise<{ manifest: Manifest; members: Map<string, Uint8Array> }> {
  const members = await readZip(bytes)
  const pyproject = members.get('pyproject.toml')
  if (!pyproject) throw invalid('no pyproject.toml')
  const content = members.get(contentPath)
  if (!content) throw invalid(`no ${contentPath}`)
  for (const line of Buffer.from(content).toString().split('\n')) {
    const [, path = '', expected] = /^(.*),([0-9a-f]{64}),\d+$/.exec(line) ?? []
    const member = members.get(path)
    if (!member) throw invalid(`'${path || line}' is listed but missing`)
    if (sha256(member) !== expected) throw invalid(`'${path}' has another hash than listed`)
  }
  return { manifest: readPyproject(Buffer.from(pyproject).toString()).manifest, members }
}

/**
 * Unpacks a bundle to `HOME/apps/PUBLISHER.NAME.VERSION.HASH8`, whole or not at all; an app that is there already stays.
 * Throws `fab-invalid`, also when the bytes have another hash than `expectedHash`.
 */
export async function installFab(
  bytes: Uint8Array,
  home: string,
  expectedHash?: string,
): Promise<{ directory: string; manifest: Manifest; installed: boolean }> {
  const fabHash = sha256(bytes)
  if (expectedHash !== undefined && fabHash !== expectedHash)
    throw invalid('its bytes have another hash than announced')
  const { manifest, members } = await readFab(bytes)
  const directory = join(
    home,
    'apps',
    `${manifest.publisher}.${manifest.name}.${manifest.version}.${fabHash.slice(0, 8)}`,
  )
  if (await exists(directory)) return { directory, manifest, installed: false }
  await mkdir(dirname(directory), { recursive: true })
  const unpacking = await mkdtemp(join(dirname(directory), '.installing-'))
  try {
    for (const [path, content] of members) {
      if (path === contentPath) continue
      const target = resolve(unpacking, path)
      await mkdir(dirname(target), { recursive: true })
      await writeFile(target, content)
    }
    await rename(unpacking, directory)
  } catch (error) {
    await rm(unpacking, { recursive: true, force: true })
    // Another process may have installed the same app in the meantime.
    if (!(await exists(directory))) throw error
  }
  return { directory, manifest, installed: true }
}

export function readAppFolder(directory: string): { manifest: Manifest; warnings: string[] } {
  let text: string
  try {
    text = readFileSync(join(directory, 'pyproject.toml'), 'utf8')
  } catch (cause) {
    throw new UsageError(`There is no app in ${directory}: a pyproject.toml is needed (flwr new makes one).`, { cause })
  }
  try {
    const { manifest, warnings } = readPyproject(text)
    checkName(manifest.name)
    return { manifest, warnings }
  } catch (error) {
    if (!(error instanceof DomainError)) throw error
    throw new UsageError(`The pyproject.toml in ${directory} is not that of an app: ${error.message}`, { cause: error })
  }
}

function checkName(name: string): void {
  if (/^\p{L}[\p{L}\p{N}-]{0,31}$/u.test(name)) return
  throw new UsageError(
    `The project name '${name}' is not allowed: start with a letter, then letters, digits and hyphens, 32 at most.`,
  )
}

/** TypeScript must be there and parse; Python is looked for where it is plain to see. */
function checkComponent(directory: string, reference: string, paths: readonly string[]): void {
  const [file = '', attribute = ''] = reference.split(':', 2)
  if (componentLanguage(reference) === 'typescript') {
    if (!paths.includes(file))
      throw new UsageError(`The component '${reference}' names ${file}, which is not among the app's files.`)
    const source = readFileSync(join(directory, file), 'utf8')
    try {
      if (/\.m?ts$/.test(file)) stripTypeScriptTypes(source)
    } catch (error) {
      throw new UsageError(`${file} does not parse: ${errorText(error).split('\n').join(' ').trim()}`, { cause: error })
    }
    return
  }
  const module = file.replaceAll('.', '/')
  const path = [`${module}.py`, `${module}/__init__.py`].find((candidate) => paths.includes(candidate))
  // Python may find the module elsewhere (an installed package), so its absence is no fault of the app.
  if (!path) return
  const source = readFileSync(join(directory, path), 'utf8')
  if (!new RegExp(`^\\s*${attribute.split('.')[0]}\\s*[=:]|__all__`, 'm').test(source)) {
    throw new UsageError(`The component '${reference}' names '${attribute}', which ${path} does not define.`)
  }
}

function withoutFederations(toml: Table): Table {
  const copy = structuredClone(toml)
  const flwr = (copy.tool as Table | undefined)?.flwr as Table | undefined
  if (flwr) delete flwr.federations
  return copy
}

function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
