import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { errorText, UsageError } from '../base/errors.ts'

/** `folder/file.ts:export` is TypeScript, `package.module:object` is Python. */
export function componentLanguage(reference: string): 'typescript' | 'python' {
  return /\.(ts|mts|js|mjs)$/.test(reference.split(':', 1)[0] ?? '') ? 'typescript' : 'python'
}

/**
 * Checks that a component of the app in `directory` is among its files. TypeScript must parse too. Returns a warning if it
 * is Python that may be installed elsewhere. Throws a UsageError.
 */
export function checkComponent(directory: string, reference: string, paths: readonly string[]): string | undefined {
  const [file = '', attribute = ''] = reference.split(':', 2)
  if (componentLanguage(reference) === 'python') return checkPython(directory, reference, file, attribute, paths)
  if (!paths.includes(file))
    throw new UsageError(`The component '${reference}' names ${file}, which is not among the app's files.`)
  const source = readFileSync(join(directory, file), 'utf8')
  try {
    if (/\.m?ts$/.test(file)) stripTypeScriptTypes(source)
  } catch (error) {
    const text = errorText(error).split('\n').join(' ').trim()
    throw new UsageError(`${file} does not parse: ${text}${placeIn(error)}`, { cause: error })
  }
  return undefined
}

/** Returns e.g. ` (line 2, column 11)`: Node writes the place above the stack, with a mark below the column. */
function placeIn(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  const [, line, before] = /^[^\n]*:(\d+)\n[^\n]*\n( *)\^/.exec(stack) ?? []
  return line === undefined ? '' : ` (line ${line}, column ${(before ?? '').length + 1})`
}

function checkPython(
  directory: string,
  reference: string,
  module: string,
  attribute: string,
  paths: readonly string[],
): string | undefined {
  const asModule = module.replace(/\.py$/, '').replaceAll('/', '.')
  if (asModule !== module)
    throw new UsageError(`The component '${reference}' is no Python module: write ${asModule}:${attribute}.`)
  if (!/^[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*$/u.test(module))
    throw new UsageError(`The component '${reference}' is no Python module: write package.module:${attribute}.`)
  const base = module.replaceAll('.', '/')
  const path = [`${base}.py`, `${base}/__init__.py`].find((candidate) => paths.includes(candidate))
  if (path === undefined) {
    const [top = ''] = module.split('.')
    const isOwn = paths.some((one) => one === `${top}.py` || one.startsWith(`${top}/`))
    if (isOwn)
      throw new UsageError(`The component '${reference}' names ${base}.py, which is not among the app's files.`)
    return `The component '${reference}' is not among the app's files: it must be installed wherever the app runs.`
  }
  const source = readFileSync(join(directory, path), 'utf8')
  if (!assignmentTo(attribute.split('.')[0] ?? '').test(source) && !source.includes('__all__'))
    throw new UsageError(`The component '${reference}' names '${attribute}', which ${path} does not define.`)
  return undefined
}

/** `app = …`, `x = app = …`, or `app: ServerApp = …`. */
function assignmentTo(name: string): RegExp {
  return new RegExp(`(^|[=;:])[ \\t]*${name.replace(/\W/g, '\\$&')}[ \\t]*(:[^=\\n]*)?=(?!=)`, 'm')
}
