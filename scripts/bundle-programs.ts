import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { build, type Metafile, type Plugin } from 'esbuild'
import { bundlePage } from '../src/dashboard/bundle-page.ts'

const root = join(import.meta.dirname, '..')

/** Packages that programs import only when they need them stay packages: most starts of a program load none of these. */
const importedWhenNeeded: Plugin = {
  name: 'imported when needed',
  setup({ onResolve }) {
    onResolve({ filter: /^[^.]/ }, ({ kind }) => (kind === 'dynamic-import' ? { external: true } : undefined))
  },
}

/**
 * An import of a module of Node reads all that it exports, and some of it loads further modules: `node:http` a client for
 * WebSockets, `node:util` the diffs of assertions. Here only what is imported is read, which saves a fifth of a start.
 */
const nodeInParts: Plugin = {
  name: 'modules of Node in parts',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: 'node' } : undefined,
    )
    onLoad({ filter: /./, namespace: 'node' }, ({ path }) => {
      const names = Object.keys(process.getBuiltinModule(path) ?? {}).filter((name) => name !== 'default')
      const parts = names.map((name) => `export const ${name} = /* @__PURE__ */ (() => whole.${name})()\n`)
      return {
        contents: `const whole = process.getBuiltinModule('${path}')\nexport default whole\n${parts.join('')}`,
      }
    })
  },
}

/**
 * Bundles the programs and the SDK, and returns the files of `dist` by their paths. A program has up to a thousand modules: to
 * load them takes 0.2 to 0.5 s of processor time, to load a bundle 0.1 s. Apps share the classes of the SDK with the program
 * that runs them, because both import the same chunks. Names stay as they are, so stacks of errors can be read.
 */
export async function bundlePrograms(): Promise<Map<string, Uint8Array | string>> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: { start: 'src/start.ts', 'sdk/index': 'src/sdk/index.ts' },
    bundle: true,
    splitting: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'node',
    target: 'node26',
    conditions: ['source'],
    // It looks for its own files, and the crash harness changes what programs import under this name.
    external: ['pg'],
    plugins: [importedWhenNeeded, nodeInParts],
    outdir: 'dist',
    // One folder deep, as the modules that look for files beside `dist`.
    chunkNames: 'chunks/[name]-[hash]',
    // Packages in CommonJS require modules of Node.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'\nconst require = requireOf(import.meta.url)",
    },
    legalComments: 'none',
    logLevel: 'warning',
  })
  const page = await bundlePage(join(root, 'src', 'web', 'page'))
  return new Map<string, Uint8Array | string>([
    ...outputFiles.map(({ path, contents }) => [relative(join(root, 'dist'), path), contents] as const),
    ['web/page/page.html', page.html],
    ['web/page/page.bundle.js', page.script],
    ['web/page/page.bundle.css', page.style],
    ['LICENSES.txt', licencesOf(metafile)],
  ])
}

/** The licences of the packages in the bundle, which demand to be reproduced with it. */
function licencesOf({ inputs }: Metafile): string {
  const sources = Map.groupBy(
    Object.keys(inputs).map((path) => resolve(root, path)),
    (path) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0],
  )
  const texts = [...sources].flatMap(([folder, files]) => (folder === undefined ? [] : licenceOf(folder, files)))
  const rule = '-'.repeat(80)
  return `The programs in this folder contain these packages.\n\n${texts.toSorted().join(`\n${rule}\n\n`)}`
}

/** A package without a file of its licence has notices at the top of its modules. */
function licenceOf(folder: string, sources: readonly string[]): string {
  const read = (path: string): string => readFileSync(path, 'utf8').trim()
  const { name, version, license } = JSON.parse(read(join(folder, 'package.json')))
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
  const notices = sources.map((path) => /^(?:\/\/.*\n)+|^\/\*[\s\S]*?\*\//.exec(read(path))?.[0] ?? '')
  const texts =
    files.length > 0
      ? files.map((file) => read(join(folder, file)))
      : [...new Set(notices.filter((text) => text.includes('Copyright')))]
  if (texts.length === 0) throw new Error(`The package ${name} has no licence: leave it out of the bundle.`)
  return `${name} ${version}, ${license}\n\n${texts.join('\n\n')}\n`
}
