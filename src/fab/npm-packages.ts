import { realpathSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import { join, posix, sep } from 'node:path'
import type { BuildFailure, BuildOptions, BuildResult, Metafile } from 'esbuild'
import { errorText, UsageError } from '../base/errors.ts'
import { findNativePackage } from './native-packages.ts'
import { sdkNames } from './sdk-names.ts'

/**
 * Bundles the npm packages that a TypeScript component imports: a FAB carries no `node_modules`. The bundle is one module
 * beside the component, with a source map that leads to the author's files. A component without packages is left alone.
 */

export type AppFile = readonly [path: string, bytes: Uint8Array]

/** What a FAB holds beside the app's files, and the reference that replaces the one in its `pyproject.toml`. */
export interface PackageBundle {
  readonly reference: string
  readonly files: readonly AppFile[]
}

type Result = BuildResult<BuildOptions & { readonly metafile: true; readonly write: false }>

/**
 * Returns the bundle of a component of the app in `directory`, or `undefined` if it imports no package. Throws a UsageError
 * if a package is not installed or holds native code, or if the component imports a file that is not among the app's.
 */
export function bundlePackages(
  directory: string,
  reference: string,
  files: readonly AppFile[],
): PackageBundle | undefined {
  if (!files.some(mayImportPackages)) return undefined
  const [file = '', attribute = ''] = reference.split(':', 2)
  const paths = files.map(([path]) => path)
  const app: App = { root: realpathSync(directory), file, paths }
  if (!importsPackages(app)) return undefined
  const path = file.replace(/\.\w+$/, '.bundle.mjs')
  for (const made of [path, `${path}.map`])
    if (paths.includes(made))
      throw new UsageError(`The app has a file ${made}, where the packages of ${file} are bundled: rename it.`)
  const { outputFiles, metafile } = buildWhole(app, {
    outfile: join(app.root, path),
    external: [...sdkNames],
    banner: { js: banner },
    sourcemap: 'linked',
    // The author's files are in the bundle themselves.
    sourcesContent: false,
  })
  ensureOwnFiles(app, metafile)
  const native = findNativePackage(app.root, Object.keys(metafile.inputs))
  if (native !== undefined)
    throw new UsageError(
      `${file} imports the npm package '${native}', which holds native code and therefore runs on one kind of machine only: use a package in JavaScript or WebAssembly instead, or a Python app.`,
    )
  const pathIn = (output: string): string => output.slice(app.root.length + 1).replaceAll(sep, '/')
  return {
    reference: `${path}:${attribute}`,
    files: outputFiles.map((output) => [pathIn(output.path), output.contents]),
  }
}

interface App {
  readonly root: string
  readonly file: string
  readonly paths: readonly string[]
}

const isCode = (path: string): boolean => /\.m?[jt]s$/.test(path)

/** Packages in the older form of modules find these names, which modules do not have. */
const banner = `import { createRequire as trellisCreateRequire } from 'node:module'
globalThis.require ??= trellisCreateRequire(import.meta.url)
globalThis.__filename ??= import.meta.filename
globalThis.__dirname ??= import.meta.dirname`

/** A quick look at the text, so that an app without packages costs no bundler. Comments count, which does no harm. */
function mayImportPackages([path, bytes]: AppFile): boolean {
  if (!isCode(path)) return false
  const imports = /\b(?:from|import|require)\s*\(?\s*['"`]([^'"`./][^'"`\n]*)['"`]/g
  return [...Buffer.from(bytes).toString().matchAll(imports)].some(([, specifier = '']) => isPackage(specifier))
}

function isPackage(specifier: string): boolean {
  return !sdkNames.includes(specifier) && !isBuiltin(specifier) && !/^(?:[./]|\w+:)/.test(specifier)
}

/** What cannot be followed is no reason to refuse an app here: it may be imported under a condition. */
function importsPackages(app: App): boolean {
  let metafile: Metafile
  try {
    const loader = { '.node': 'empty', '.wasm': 'empty' } as const
    metafile = build(app, { outfile: join(app.root, 'out.mjs'), packages: 'external', loader }).metafile
  } catch (error) {
    if (error instanceof UsageError && errorsOf(error.cause).length > 0) return false
    throw error
  }
  const imports = Object.values(metafile.inputs).flatMap((input) => input.imports)
  return imports.some(({ external, path }) => external && isPackage(path) && !path.startsWith('#'))
}

/**
 * Builds again without the notes of packages on what has no effect, if the app imports a package for its effect only: some
 * (`@tensorflow/tfjs-backend-cpu`) say of the very file that Node loads that it has none.
 */
function buildWhole(app: App, options: BuildOptions): Result {
  const result = build(app, options)
  return result.warnings.some(({ id }) => id === 'ignored-bare-import')
    ? build(app, { ...options, ignoreAnnotations: true })
    : result
}

/** Throws a UsageError that names the place in the app. */
function build({ root, file }: App, options: BuildOptions): Result {
  const { buildSync } = loadBundler()
  try {
    return buildSync({
      entryPoints: [join(root, file)],
      absWorkingDir: root,
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      platform: 'node',
      target: 'esnext',
      charset: 'utf8',
      logLevel: 'silent',
      // Neither the folder above the app nor its compiler settings decide what is in the bundle.
      tsconfigRaw: {},
      loader: { '.node': 'empty' },
      ...options,
    }) as Result
  } catch (cause) {
    throw new UsageError(buildFault(cause, root), { cause })
  }
}

function buildFault(cause: unknown, root: string): string {
  const [first] = errorsOf(cause)
  if (!first) return `The bundler does not run (${errorText(cause)}): install Trellis with its optional dependencies.`
  const place = first.location ? `${first.location.file}:${first.location.line}: ` : ''
  const missing = /^Could not resolve "([^"]*)"/.exec(first.text)?.[1]
  return missing !== undefined && isPackage(missing)
    ? `${place}the npm package '${missing}' is not installed: run npm install in ${root}.`
    : `${place}${first.text}: correct it, because packages are bundled when an app is built.`
}

function errorsOf(cause: unknown): BuildFailure['errors'] {
  return (cause as Partial<BuildFailure> | undefined)?.errors ?? []
}

/** Loaded when an app has packages: other commands start without it. */
function loadBundler(): typeof import('esbuild') {
  try {
    return createRequire(import.meta.url)('esbuild')
  } catch (cause) {
    throw new UsageError(buildFault(cause, ''))
  }
}

/** A file that is ignored or excluded must not get into the FAB through an import. */
function ensureOwnFiles({ file, paths }: App, { inputs }: Metafile): void {
  const visited = new Set([file])
  for (const importer of visited) {
    for (const { path, original = '', external } of inputs[importer]?.imports ?? []) {
      if (external || !/^[./#]/.test(original) || inNodeModules.test(path)) continue
      if (!paths.includes(path))
        throw new UsageError(`${importer} imports ${posix.normalize(path)}, which is not among the app's files.`)
      visited.add(path)
    }
  }
}

const inNodeModules = /(?:^|\/)node_modules\//
