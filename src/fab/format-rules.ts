import type { TomlTable } from '../base/toml.ts'
import {
  compareVersions,
  isSpecifier,
  type PythonVersion,
  parseVersion,
  type Specifier,
  satisfies,
} from './python-version.ts'

/**
 * Flower's rules for `fab-format-version`, `flwr-version-target` and the dependency on `flwr`, the same in all releases from
 * 1.29 to 1.43. A bundle that breaks them is refused by Flower's SuperLinks, so it is refused when it is built, and by ours.
 */
export function findFormatFault(project: TomlTable, app: TomlTable): string | undefined {
  const version = app['fab-format-version'] ?? 0n
  if (typeof version !== 'bigint' || version < 0n)
    return 'Invalid [tool.flwr.app].fab-format-version: expected a non-negative integer.'
  if (version > 1n) return `Unsupported [tool.flwr.app].fab-format-version: ${version}.`
  if (version === 0n) return findDependencyFault(project.dependencies)
  const targetText = app['flwr-version-target']
  const target = typeof targetText === 'string' ? parseVersion(targetText) : undefined
  return (
    findTargetFault(targetText, target) ??
    findLicenseFault(project.license) ??
    findDependencyFault(project.dependencies) ??
    findRequirementFault(flowerDependencies(project.dependencies as string[] | undefined)[0], target as PythonVersion)
  )
}

function findTargetFault(text: unknown, target: PythonVersion | undefined): string | undefined {
  if (text === undefined) return 'Missing [tool.flwr.app].flwr-version-target for fab-format-version >= 1.'
  if (typeof text !== 'string') return 'Invalid [tool.flwr.app].flwr-version-target: expected a string.'
  return target ? undefined : `Invalid [tool.flwr.app].flwr-version-target: "${text}" is no version, e.g. "1.29.0".`
}

function findLicenseFault(license: unknown): string | undefined {
  const file = typeof license === 'object' ? (license as TomlTable).file : undefined
  if ((file === 'LICENSE' || file === 'LICENSE.md') && !('text' in (license as TomlTable))) return undefined
  return 'fab-format-version = 1 requires [project].license to be { file = "LICENSE" } or { file = "LICENSE.md" }.'
}

/** Only `>=` makes a lower bound: the highest one counts. */
function findRequirementFault(flower: string | undefined, target: PythonVersion): string | undefined {
  if (flower === undefined) return 'Missing "flwr" dependency in [project].dependencies for fab-format-version >= 1.'
  const conditions = specifiersOf(flower)
  const bounds = conditions.filter(({ operator }) => operator === '>=').map((one) => parseVersion(one.version))
  if (bounds.length === 0) return 'Invalid "flwr" dependency specifier: a lower bound with ">=" is required.'
  if (bounds.some((bound) => compareVersions(target, bound as PythonVersion) < 0))
    return 'Invalid [tool.flwr.app].flwr-version-target: lower than the lower bound of the "flwr" dependency.'
  return satisfies(target, conditions)
    ? undefined
    : 'Invalid [tool.flwr.app].flwr-version-target: it does not meet the specifier of the "flwr" dependency.'
}

/** The file that a bundle of format 1 must hold. */
export function requiredLicense(project: TomlTable, app: TomlTable): string | undefined {
  return app['fab-format-version'] === 1n ? String((project.license as TomlTable).file) : undefined
}

function findDependencyFault(dependencies: unknown): string | undefined {
  if (dependencies === undefined) return undefined
  if (!Array.isArray(dependencies))
    return 'Invalid [project].dependencies: expected a list containing a "flwr" dependency declaration.'
  for (const one of dependencies) {
    if (typeof one !== 'string') return 'Invalid [project].dependencies: dependency entries must be strings.'
    if (!requirement.test(one) || !specifiersOf(one).every(isSpecifier))
      return `Invalid dependency declaration "${one}".`
  }
  return flowerDependencies(dependencies as string[]).length > 1
    ? 'Multiple "flwr" dependency declarations are not supported.'
    : undefined
}

function flowerDependencies(dependencies: readonly string[] = []): string[] {
  return dependencies.filter((one) => requirement.exec(one)?.groups?.name === 'flwr')
}

function specifiersOf(dependency: string): Specifier[] {
  const { versions = '' } = requirement.exec(dependency)?.groups ?? {}
  return [...versions.matchAll(operatorAndVersion)].map(([, operator = '', version = '']) => ({ operator, version }))
}

const operatorAndVersion = /(===|~=|==|!=|<=|>=|<|>)\s*([^\s,;()]+)/g
const specifier = '(?:===|~=|==|!=|<=|>=|<|>)\\s*[^\\s,;()]+'
const specifiers = `${specifier}(?:\\s*,\\s*${specifier})*\\s*,?`
/** A requirement as PEP 508 has it: a name, extras, versions or a URL, and a condition. */
const requirement = new RegExp(
  `^\\s*(?<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\\s*(?:\\[[^\\]]*\\])?\\s*` +
    `(?:@\\s*\\S+(?:\\s+;.*)?|(?<versions>\\(\\s*(?:${specifiers})?\\s*\\)|${specifiers})?\\s*(?:;.*)?)$`,
  's',
)
