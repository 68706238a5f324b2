import { DomainError } from '../base/errors.ts'
import { printable, shortened } from '../base/printable.ts'
import { parseToml, type TomlBounds, TomlFault } from '../base/toml.ts'
import { ensureConfigFits, type UserConfig } from '../base/user-config.ts'
import { type AppComponents, findComponentFaults, readComponents } from './app-components.ts'
import { type FabNames, findNameFaults } from './fab-names.ts'
import { findFormatFault, requiredLicense } from './format-rules.ts'

/** What a FAB says about itself, from its `pyproject.toml`. */
export interface Manifest {
  readonly name: string
  readonly version: string
  readonly publisher: string
  /** `publisher/name` */
  readonly fabId: string
  readonly components: AppComponents
  /** `[tool.flwr.app.config]`, flattened to dotted keys. */
  readonly config: UserConfig
  readonly dependencies: readonly string[]
  readonly fabInclude: readonly string[] | undefined
  readonly fabExclude: readonly string[] | undefined
  /** Set if the format of the bundle demands a license. */
  readonly licenseFile: string | undefined
}

export type Table = { [key: string]: unknown }

/** Throws `fab-invalid`. The texts of the findings are Flower's, because scripts look for them. */
export function readPyproject(
  text: string,
  options: { readonly bounds: TomlBounds; readonly list?: (faults: readonly string[]) => string },
): { manifest: Manifest; warnings: string[] } {
  const { bounds, list = pythonList } = options
  const refuse = (what: string, cause?: unknown): DomainError =>
    new DomainError('fab-invalid', shortened(printable(what), 2000), { cause })
  let toml: Table
  try {
    toml = parseToml(text, { bounds, integersAsBigInt: true })
  } catch (error) {
    if (!(error instanceof TomlFault)) throw error
    throw refuse(`Invalid TOML content in pyproject.toml (${error.message})`, error)
  }
  const { errors, warnings } = findFaults(toml)
  if (errors.length > 0) throw refuse(list(errors))
  const project = table(toml.project)
  const app = table(table(table(toml.tool).flwr).app)
  const [name, version, publisher] = [String(project.name), String(project.version), String(app.publisher)]
  return {
    manifest: {
      name,
      version,
      publisher,
      fabId: `${publisher}/${name}`,
      components: readComponents(table(toml.tool)),
      config: flattenConfig(table(app.config)),
      dependencies: Array.isArray(project.dependencies) ? project.dependencies.map(String) : [],
      fabInclude: app['fab-include'] as string[] | undefined,
      fabExclude: app['fab-exclude'] as string[] | undefined,
      licenseFile: requiredLicense(project, app),
    },
    warnings,
  }
}

function findFaults(toml: Table): { errors: string[]; warnings: string[] } {
  const errors: string[] = []
  const warnings: string[] = []
  if (!isTable(toml.project)) errors.push('Missing [project] section')
  else {
    for (const key of ['name', 'version']) {
      if (!(key in toml.project)) errors.push(`Property "${key}" missing in [project]`)
      else if (typeof toml.project[key] !== 'string') errors.push(`Property "${key}" in [project] must be a string.`)
    }
    for (const key of ['description', 'license']) {
      if (!(key in toml.project)) warnings.push(`Recommended property "${key}" missing in [project]`)
    }
  }
  const app = table(table(toml.tool).flwr).app
  if (!isTable(app)) return { errors: [...errors, 'Missing [tool.flwr.app] section'], warnings }
  if (!('publisher' in app)) errors.push('Property "publisher" missing in [tool.flwr.app]')
  else if (typeof app.publisher !== 'string') errors.push('Property "publisher" in [tool.flwr.app] must be a string.')
  for (const key of ['fab-include', 'fab-exclude']) errors.push(...findPatternFaults(key, app[key]))
  errors.push(...findComponentFaults(table(toml.tool)))
  if (errors.length === 0) {
    const { name, version } = table(toml.project)
    errors.push(...findNameFaults({ name, version, publisher: app.publisher } as FabNames))
    errors.push(...[findFormatFault(table(toml.project), app)].filter((fault) => fault !== undefined))
  }
  return { errors, warnings }
}

function findPatternFaults(key: string, value: unknown): string[] {
  const what = `Property "${key}" in [tool.flwr.app] must`
  if (value === undefined) return []
  if (!Array.isArray(value)) return [`${what} be a list of strings.`]
  if (value.length === 0) {
    return [`${what} not be an empty list. Remove the key to use built-in defaults, or specify at least one pattern.`]
  }
  return value.every((item) => typeof item === 'string' && item !== '')
    ? []
    : [`${what} be a list of non-empty strings.`]
}

/** Nested tables become dotted keys. Throws `run-config-invalid` on anything but booleans, numbers and strings. */
export function flattenConfig(nested: Table, prefix = ''): UserConfig {
  const flat: UserConfig = {}
  for (const [key, value] of Object.entries(nested)) {
    const name = prefix + key
    if (name === '__proto__') throw new DomainError('run-config-invalid', "A key must not be '__proto__'.")
    if (isTable(value)) Object.assign(flat, flattenConfig(value, `${name}.`))
    else if (
      typeof value === 'boolean' ||
      typeof value === 'bigint' ||
      typeof value === 'number' ||
      typeof value === 'string'
    ) {
      flat[name] = value
    } else {
      throw new DomainError('run-config-invalid', `The value of '${name}' must be a boolean, a number or a string.`)
    }
  }
  return flat
}

/** The app's configuration with the overrides of a run. Throws `run-config-invalid` for a key that the app does not have. */
export function fuseConfig(config: UserConfig, overrides: UserConfig): UserConfig {
  ensureConfigFits(overrides)
  for (const key of Object.keys(overrides)) {
    if (!Object.hasOwn(config, key))
      throw new DomainError('run-config-invalid', `Key '${key}' is not present in the main dictionary`)
  }
  return { ...config, ...overrides }
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

function table(value: unknown): Table {
  return isTable(value) ? value : {}
}

/** Writes a list of strings as Python prints it: Flower's clients show that. */
function pythonList(items: readonly string[]): string {
  return `[${items.map((item) => (item.includes("'") && !item.includes('"') ? `"${item}"` : `'${item.replaceAll("'", "\\'")}'`)).join(', ')}]`
}
