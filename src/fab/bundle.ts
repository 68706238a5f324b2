import { isUtf8 } from 'node:buffer'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError, UsageError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { printable } from '../base/printable.ts'
import { peerBounds } from '../base/toml.ts'
import { writeStoredZip } from '../base/zip-write.ts'
import { checkComponent, componentLanguage } from './component.ts'
import { contentPath, sha256, writeContentList } from './content-list.ts'
import { isNewName } from './fab-names.ts'
import { byCodePoint, selectFiles } from './file-selection.ts'
import { findPathCollision, memberPathFault } from './member-paths.ts'
import { type AppFile, bundlePackages } from './npm-packages.ts'
import { type OrderedTable, parseOrderedToml } from './ordered-toml.ts'
import { type Manifest, readPyproject } from './pyproject.ts'
import { writeToml } from './toml-write.ts'

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
  const { manifest, warnings, text } = readAppFolder(directory)
  const languages = Object.values(manifest.components).map(componentLanguage)
  const paths = selectFiles(directory, {
    typescript: languages.includes('typescript'),
    include: manifest.fabInclude,
    exclude: manifest.fabExclude,
  })
  checkPaths(paths)
  for (const reference of Object.values(manifest.components))
    warnings.push(...[checkComponent(directory, reference, paths)].filter((warning) => warning !== undefined))
  if (manifest.licenseFile !== undefined && !paths.includes(manifest.licenseFile))
    throw new UsageError(`fab-format-version = 1 needs ${manifest.licenseFile} among the files of the app: add it.`)
  const appFiles = paths.map((path): AppFile => [path, readFileOf(directory, path)])
  const { bundles, files: bundled } = bundleComponents(directory, manifest, appFiles)
  const files: AppFile[] = [
    ['pyproject.toml', Buffer.from(bundledProject(text, bundles))],
    ...[...appFiles, ...bundled].sort(byPath),
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

function readAppFolder(directory: string): { manifest: Manifest; warnings: string[]; text: string } {
  let bytes: Buffer
  try {
    bytes = readFileSync(join(directory, 'pyproject.toml'))
  } catch (cause) {
    const sentence = directory.endsWith('.fab')
      ? `${directory} is a FAB, not the folder of an app: unpack it with flwr install, and give the folder that it prints.`
      : `There is no app in ${directory}: a pyproject.toml is needed (flwr new makes one).`
    throw new UsageError(sentence, { cause })
  }
  if (!isUtf8(bytes)) throw new UsageError(`The pyproject.toml in ${directory} is not UTF-8: save it as UTF-8.`)
  const text = bytes.toString().replace(/^\ufeff/, '')
  try {
    const { manifest, warnings } = readPyproject(text, { bounds: peerBounds, list: (faults) => faults.join('; ') })
    if (isNewName(manifest.name)) return { manifest, warnings, text }
  } catch (error) {
    if (!(error instanceof DomainError)) throw error
    throw new UsageError(`The pyproject.toml in ${directory} is not that of an app: ${error.message}`, { cause: error })
  }
  throw new UsageError(
    `The project name in ${directory} is not allowed: start with a letter, then letters, digits and hyphens, 32 at most.`,
  )
}

function readFileOf(directory: string, path: string): Uint8Array {
  try {
    return readFileSync(join(directory, path))
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    throw new UsageError(
      `The file ${path} of the app cannot be read (${code}): check its permissions, or leave it out.`,
      {
        cause,
      },
    )
  }
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

/** Bundles the components that import npm packages. Returns their new references, by those of the app. */
function bundleComponents(
  directory: string,
  { components }: Manifest,
  appFiles: readonly AppFile[],
): { bundles: ReadonlyMap<string, string>; files: readonly AppFile[] } {
  const bundles = new Map<string, string>()
  const files = new Map<string, Uint8Array>()
  for (const reference of Object.values(components)) {
    if (componentLanguage(reference) !== 'typescript') continue
    const bundle = bundlePackages(directory, reference, appFiles)
    if (!bundle) continue
    bundles.set(reference, bundle.reference)
    for (const [path, bytes] of bundle.files) files.set(path, bytes)
  }
  return { bundles, files: [...files] }
}

function byPath([one]: AppFile, [other]: AppFile): number {
  return byCodePoint(one, other)
}

/**
 * The `pyproject.toml` of the bundle: without comments and connections, in the layout that Flower's builder writes, and with
 * the references of bundled components.
 */
function bundledProject(text: string, bundles: ReadonlyMap<string, string>): string {
  const project = parseOrderedToml(text)
  const tool = tableIn(project, 'tool')
  tableIn(tool, 'flwr')?.delete('federations')
  for (const owner of ['flwr', 'trellis']) {
    const references = tableIn(tableIn(tableIn(tool, owner), 'app'), 'components')
    for (const [key, reference] of references ?? []) {
      const bundled = typeof reference === 'string' ? bundles.get(reference) : undefined
      if (bundled !== undefined) references?.set(key, bundled)
    }
  }
  return writeToml(project)
}

function tableIn(table: OrderedTable | undefined, key: string): OrderedTable | undefined {
  const value = table?.get(key)
  return value instanceof Map ? value : undefined
}
