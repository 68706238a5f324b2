import type { TomlTable } from '../base/toml.ts'

/**
 * Flower's rules for `fab-format-version` and for the dependency on `flwr`. A bundle that breaks them is refused by Flower's
 * SuperLinks, so it is refused when it is built, and by ours.
 */
export function findFormatFault(project: TomlTable, app: TomlTable): string | undefined {
  const version = app['fab-format-version'] ?? 0n
  if (typeof version !== 'bigint' || version < 0n)
    return 'Invalid [tool.flwr.app].fab-format-version: expected a non-negative integer.'
  if (version > 1n) return `Unsupported [tool.flwr.app].fab-format-version: ${version}.`
  const dependencyFault = findDependencyFault(project.dependencies)
  if (dependencyFault !== undefined || version === 0n) return dependencyFault
  if (typeof app['flwr-version-target'] !== 'string')
    return 'Missing [tool.flwr.app].flwr-version-target for fab-format-version >= 1.'
  const license = project.license as TomlTable | undefined
  if (typeof license !== 'object' || (license.file !== 'LICENSE' && license.file !== 'LICENSE.md'))
    return 'fab-format-version = 1 requires [project].license to be { file = "LICENSE" } or { file = "LICENSE.md" }.'
  const flower = flowerDependencies(project.dependencies as string[] | undefined)[0]
  if (flower === undefined) return 'Missing "flwr" dependency in [project].dependencies for fab-format-version >= 1.'
  return flower.includes('>=') ? undefined : 'Invalid "flwr" dependency specifier: a lower bound with ">=" is required.'
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
    if (!requirement.test(one)) return `Invalid dependency declaration "${one}".`
  }
  return flowerDependencies(dependencies as string[]).length > 1
    ? 'Multiple "flwr" dependency declarations are not supported.'
    : undefined
}

function flowerDependencies(dependencies: readonly string[] = []): string[] {
  return dependencies.filter((one) => requirement.exec(one)?.groups?.name === 'flwr')
}

const specifier = '(?:===|~=|==|!=|<=|>=|<|>)\\s*[^\\s,;()]+'
const specifiers = `${specifier}(?:\\s*,\\s*${specifier})*\\s*,?`
/** A requirement as PEP 508 has it: a name, extras, versions or a URL, and a condition. */
const requirement = new RegExp(
  `^\\s*(?<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\\s*(?:\\[[^\\]]*\\])?\\s*` +
    `(?:@\\s*\\S+(?:\\s+;.*)?|(?:\\(\\s*(?:${specifiers})?\\s*\\)|${specifiers})?\\s*(?:;.*)?)$`,
  's',
)
