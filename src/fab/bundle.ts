import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { DomainError, errorText, UsageError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { printable } from '../base/printable.ts'
import { peerBounds } from '../base/toml.ts'
import { componentLanguage } from './component.ts'
import { contentPath, sha256, writeContentList } from './content-list.ts'
import { isNewName } from './fab-names.ts'
import { selectFiles } from './file-selection.ts'
import { findPathCollision, memberPathFault } from './member-paths.ts'
import { type Manifest, readPyproject, type Table } from './pyproject.ts'
import { writeToml } from './toml-write.ts'
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
  checkPaths(paths)
  for (const reference of Object.values(manifest.components)) checkComponent(directory, reference, paths)
  const files: (readonly [string, Uint8Array])[] = [
    ['pyproject.toml', Buffer.from(writeToml(withoutFederations(manifest.toml)))],
    ...paths.map((path) => [path, readFileSync(join(directory, path))] as const),
  ]
  const bytes = writeStoredZip([...files, [contentPath, Buffer.from(writeContentList(files))]])
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

export function readAppFolder(directory: string): { manifest: Manifest; warnings: string[] } {
  let text: string
  try {
    text = readFileSync(join(directory, 'pyproject.toml'), 'utf8')
  } catch (cause) {
    throw new UsageError(`There is no app in ${directory}: a pyproject.toml is needed (flwr new makes one).`, { cause })
  }
  try {
    const { manifest, warnings } = readPyproject(text, { bounds: peerBounds, list: (faults) => faults.join('; ') })
    if (isNewName(manifest.name)) return { manifest, warnings }
  } catch (error) {
    if (!(error instanceof DomainError)) throw error
    throw new UsageError(`The pyproject.toml in ${directory} is not that of an app: ${error.message}`, { cause: error })
  }
  throw new UsageError(
    `The project name in ${directory} is not allowed: start with a letter, then letters, digits and hyphens, 32 at most.`,
  )
}

/** No program opens a bundle whose paths have such faults. */
function checkPaths(paths: readonly string[]): void {
  for (const path of paths) {
    const fault = memberPathFault(path)
    if (fault) throw new UsageError(`The name of the file '${printable(path)}' ${fault}: rename it or leave it out.`)
  }
  const [one, other] = findPathCollision(paths) ?? []
  if (one !== undefined)
    throw new UsageError(
      `The files '${one}' and '${other}' cannot both exist in every file system: rename one of them.`,
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
