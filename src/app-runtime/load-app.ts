import { realpathSync } from 'node:fs'
import { findPackageJSON, registerHooks, setSourceMapsSupport } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { errorText } from '../base/errors.ts'
import type { UserConfig } from '../base/user-config.ts'
import { componentLanguage } from '../fab/component.ts'
import { installFab } from '../fab/install-fab.ts'
import { fuseConfig, type Manifest } from '../fab/pyproject.ts'
import { sdkNames } from '../fab/sdk-names.ts'

/** Why an app cannot be run: the app's fault, reported to the ServerApp or to the followers of the run. */
export class AppLoadError extends Error {}

export interface InstalledApp {
  readonly directory: string
  readonly manifest: Manifest
}

/** Unpacks the app, checked, under `home`. Throws a DomainError `fab-invalid`. */
export async function installApp(
  fab: { content: Uint8Array; hashStr: string } | undefined,
  home: string,
): Promise<InstalledApp> {
  if (!fab) throw new AppLoadError('The server sent no FAB.')
  return installFab(fab.content, home, fab.hashStr)
}

/** The configuration of the app with the overrides of the run. */
export function runConfigOf(manifest: Manifest, overrides: UserConfig): UserConfig {
  return fuseConfig(manifest.config, overrides)
}

/**
 * Imports `folder/file.ts:export` of an installed app and checks what it is. The SDK's names resolve to the one that this
 * process itself uses, wherever the app lies: classes must be the same ones.
 */
export async function loadComponent<T>(
  { directory }: InstalledApp,
  reference: string,
  kind: new (...args: never[]) => T,
  sdkUrl: string,
): Promise<T> {
  const [file = '', attributes = ''] = reference.split(':', 2)
  if (componentLanguage(reference) !== 'typescript')
    throw new AppLoadError(`The component '${reference}' is Python; this program runs TypeScript.`)
  // Errors in a bundle of npm packages show the file and line of the author.
  setSourceMapsSupport(true)
  hookImports(directory, sdkUrl)
  let found: unknown
  try {
    found = await import(pathToFileURL(join(directory, file)).href)
  } catch (error) {
    failedLoads.set(directory, Math.min((failedLoads.get(directory) ?? 0) + 1, reloadsMax))
    throw new AppLoadError(`${file} cannot be loaded: ${errorText(error)}`, { cause: error })
  }
  for (const name of attributes.split('.')) found = (found as Record<string, unknown> | undefined)?.[name]
  if (found instanceof kind) return found
  throw new AppLoadError(`'${attributes}' in ${file} is not a ${kind.name}: export one under that name.`)
}

/** The folders of the apps that this process has loaded, as stacks of errors name them. */
export const appFolders = new Set<string>()

/** Failed loads of each app, by its folder. The hooks for the folder exist once it is known here. */
const failedLoads = new Map<string, number>()
/** Node keeps a failed module for the life of the process, so each of the next loads gives modules new names. */
const reloadsMax = 5

/**
 * TypeScript files of an app are always ES modules; JavaScript files are, unless a `package.json` of the app says otherwise.
 * A `package.json` above the app has no effect: apps are unpacked below any folder that a user may have.
 */
function hookImports(directory: string, sdkUrl: string): void {
  if (failedLoads.has(directory)) return
  failedLoads.set(directory, 0)
  // Node resolves links, e.g. of a home folder that is one.
  const folder = realpathSync(directory)
  appFolders.add(folder)
  const root = pathToFileURL(`${folder}/`).href
  registerHooks({
    resolve(specifier, context, next) {
      if (sdkNames.includes(specifier)) return { url: sdkUrl, shortCircuit: true }
      const resolved = next(specifier, context)
      if (!resolved.url.startsWith(root)) return resolved
      const failed = failedLoads.get(directory)
      const url = failed ? `${resolved.url}?load=${failed}` : resolved.url
      if (/\.m?ts$/.test(resolved.url)) return { ...resolved, url, format: 'module-typescript' }
      if (!/\.m?js$/.test(resolved.url)) return resolved
      const manifest = findPackageJSON(resolved.url)
      const isOwn = manifest !== undefined && pathToFileURL(manifest).href.startsWith(root)
      return { ...resolved, url, format: (isOwn ? resolved.format : undefined) ?? 'module' }
    },
  })
}
