import type { TomlTable } from '../base/toml.ts'
import { componentLanguage } from './component.ts'

/** The components of an app. */
export interface AppComponents {
  readonly serverapp: string
  /** The ClientApp of an app that has one only, in either language. Of an app with two, the one in Python. */
  readonly clientapp: string
  /** From `[tool.trellis.app.components]`: the TypeScript twin of a ClientApp in Python. */
  readonly typescriptClientapp?: string
}

export type AppLanguage = ReturnType<typeof componentLanguage>

/** Returns the ClientApp to run at a site that prefers this language. */
export function chooseClientApp(components: AppComponents, language: AppLanguage): string {
  return language === 'python' ? components.clientapp : (components.typescriptClientapp ?? components.clientapp)
}

const flower = '[tool.flwr.app.components]'
const ours = '[tool.trellis.app.components]'
const reference = /^[^:]+:[^:]+$/

/**
 * Without the twin if its file is missing: `flwr` of Flower leaves TypeScript files out of a FAB, and every site can still run
 * the ClientApp in Python.
 */
export function withoutMissingTwin(components: AppComponents, has: (path: string) => boolean): AppComponents {
  const { typescriptClientapp, ...others } = components
  const [file = ''] = typescriptClientapp?.split(':', 1) ?? []
  return typescriptClientapp === undefined || has(file) ? components : others
}

/** Reads what `findComponentFaults` finds no fault in. */
export function readComponents(tool: TomlTable): AppComponents {
  const { serverapp, clientapp } = componentsOf(tool, 'flwr') as TomlTable
  const twin = componentsOf(tool, 'trellis') as TomlTable | undefined
  return {
    serverapp: String(serverapp),
    clientapp: String(clientapp),
    ...(twin?.clientapp === undefined ? {} : { typescriptClientapp: String(twin.clientapp) }),
  }
}

/** The texts about Flower's table are Flower's, because scripts look for them. */
export function findComponentFaults(tool: TomlTable): string[] {
  const components = componentsOf(tool, 'flwr')
  if (!isTable(components)) return [`Missing ${flower} section`]
  const faults = ['serverapp', 'clientapp'].map((key) => {
    const value = components[key]
    if (value === undefined) return `Property "${key}" missing in ${flower}`
    return typeof value === 'string' && reference.test(value)
      ? undefined
      : `Property "${key}" in ${flower} must have the form "module:object" or "folder/file.ts:export".`
  })
  const found = faults.filter((fault) => fault !== undefined)
  return found.length > 0 ? found : findTwinFaults(componentsOf(tool, 'trellis'), String(components.clientapp))
}

function findTwinFaults(components: unknown, clientapp: string): string[] {
  if (components === undefined) return []
  if (!isTable(components)) return [`${ours} must be a table.`]
  const unknown = Object.keys(components).filter((key) => key !== 'clientapp')
  if (unknown.length > 0)
    return unknown.map((key) => `Property "${key}" in ${ours} is unknown: it has "clientapp" only.`)
  const twin = components.clientapp
  if (twin === undefined) return []
  if (typeof twin !== 'string' || !reference.test(twin) || componentLanguage(twin) !== 'typescript')
    return [`Property "clientapp" in ${ours} must have the form "folder/file.ts:export".`]
  if (componentLanguage(clientapp) === 'typescript')
    return [`Property "clientapp" in ${flower} must be Python if ${ours} names one in TypeScript: give it once.`]
  return []
}

function componentsOf(tool: TomlTable, owner: string): unknown {
  const table = (value: unknown): TomlTable => (isTable(value) ? value : {})
  return table(table(tool[owner]).app).components
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}
