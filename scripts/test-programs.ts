import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { build, type Plugin } from 'esbuild'
import { bundlePage } from '../src/dashboard/bundle-page.ts'

const root = join(import.meta.dirname, '..')
const cache = join(root, '.cache', 'programs')
/** What a release has beside `bin` and `dist`, and the demo. */
const linked = ['examples', 'node_modules', 'package.json', 'proto', 'scripts', 'share', 'templates']
const keptMs = 24 * 60 * 60_000

/**
 * Bundles the programs for tests, laid out as in a release, and returns the folder that holds them, as `bin/` does. A program
 * has up to a thousand modules: to load them takes 0.2 to 0.5 s of processor time, of a bundle 0.1 s, and tests start
 * hundreds of programs. Names of folders tell their content, so runs of tests at the same time do not disturb each other.
 */
export async function buildTestPrograms(): Promise<string> {
  const files = await bundle()
  const hash = createHash('sha256').update([root, ...linked].join())
  for (const name of readdirSync(join(root, 'bin'))) hash.update(readFileSync(join(root, 'bin', name)))
  for (const [path, content] of files) hash.update(path).update(content)
  const folder = join(cache, hash.digest('hex').slice(0, 16))
  if (!existsSync(folder)) write(folder, files)
  removeOld(folder)
  return join(folder, 'bin')
}

/** Packages that programs import only when they need them stay packages: most runs of tests load none of these. */
const importedWhenNeeded: Plugin = {
  name: 'imported when needed',
  setup({ onResolve }) {
    onResolve({ filter: /^[^.]/ }, ({ kind }) => (kind === 'dynamic-import' ? { external: true } : undefined))
  },
}

/** The files of `dist`, by path. */
async function bundle(): Promise<Map<string, Uint8Array | string>> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: { start: 'src/start.ts', 'sdk/index': 'src/sdk/index.ts' },
    bundle: true,
    splitting: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node26',
    conditions: ['source'],
    // The crash harness changes what programs import as `pg`.
    external: ['pg'],
    plugins: [importedWhenNeeded],
    outdir: 'dist',
    // One folder deep, as the modules that look for files beside `dist`.
    chunkNames: 'chunks/[name]-[hash]',
    // Packages in CommonJS require modules of Node.
    banner: {
      js: "import { createRequire as requireOf } from 'node:module'\nconst require = requireOf(import.meta.url)",
    },
    logLevel: 'warning',
  })
  const page = await bundlePage(join(root, 'src', 'web', 'page'))
  return new Map<string, Uint8Array | string>([
    ...outputFiles.map(({ path, contents }) => [relative(join(root, 'dist'), path), contents] as const),
    ['web/page/page.html', page.html],
    ['web/page/page.bundle.js', page.script],
    ['web/page/page.bundle.css', page.style],
  ])
}

function write(folder: string, files: ReadonlyMap<string, Uint8Array | string>): void {
  const unfinished = `${folder}.${process.pid}`
  for (const [path, content] of files) {
    const file = join(unfinished, 'dist', path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content)
  }
  cpSync(join(root, 'bin'), join(unfinished, 'bin'), { recursive: true })
  for (const name of linked) symlinkSync(join(root, name), join(unfinished, name))
  try {
    renameSync(unfinished, folder)
  } catch (error) {
    // Another run of tests was faster.
    rmSync(unfinished, { recursive: true })
    if (!existsSync(folder)) throw error
  }
}

/** A day later no run of tests uses them any more. */
function removeOld(current: string): void {
  for (const name of readdirSync(cache)) {
    const folder = join(cache, name)
    // Another run of tests may remove it at the same time.
    const changedAt = statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY
    if (folder !== current && changedAt < Date.now() - keptMs) rmSync(folder, { recursive: true, force: true })
  }
}
