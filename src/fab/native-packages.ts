import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Finds npm packages with native code: they were compiled for the machine where the app is built. */

/** Packages that load native code for the one that imports them. */
const loaders: readonly string[] = [
  'bindings',
  'node-gyp-build',
  'node-pre-gyp',
  '@mapbox/node-pre-gyp',
  'pkg-prebuilds',
]

/** Returns the name of the first package with native code among the files that a bundle is made of. */
export function findNativePackage(root: string, inputs: readonly string[]): string | undefined {
  const folders = new Map<string, string>()
  for (const path of inputs) {
    const [, folder, name] = /^(.*(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(path) ?? []
    if (path.endsWith('.node')) return name ?? path
    if (folder !== undefined && name !== undefined) folders.set(folder, name)
  }
  for (const [folder, name] of folders) if (isNative(join(root, folder))) return name
  return undefined
}

function isNative(folder: string): boolean {
  if (['binding.gyp', 'prebuilds'].some((name) => existsSync(join(folder, name)))) return true
  const manifest = readManifest(folder)
  return (
    manifest.gypfile === true ||
    ['napi', 'binary'].some((key) => Object.hasOwn(manifest, key)) ||
    loaders.some((name) => Object.hasOwn((manifest.dependencies ?? {}) as object, name))
  )
}

function readManifest(folder: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) ?? {}
  } catch {
    return {}
  }
}
