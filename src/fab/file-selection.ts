import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ignore from 'ignore'
import { UsageError } from '../base/errors.ts'

/** Which files of an app's folder go into its bundle. The patterns are Git's. */

const pythonTypes = ['**/*.py', '**/*.toml', '**/*.md', '**/*.yaml', '**/*.yml', '**/*.json', '**/*.jsonl']
/** A TypeScript app brings its sources and its data; Flower's installers take any file. */
const typescriptTypes = [
  '**/*.ts',
  '**/*.mts',
  '**/*.js',
  '**/*.mjs',
  '**/*.wasm',
  '**/*.csv',
  '**/*.txt',
  '**/*.bin',
  '**/*.npy',
  '**/*.gz',
]
const publishOnly = ['/.gitignore', '**/.editorconfig', '/LICENSE', '/LICENSE.md']
const neverPublished = ['.flwr/**', '**/__pycache__/**']
const neverBundled = [
  ...neverPublished,
  'pyproject.toml',
  '**/*_test.py',
  '**/test_*.py',
  'build/**',
  'eggs/**',
  '.eggs/**',
  'lib/**',
  'lib64/**',
  'parts/**',
  '*.egg',
  '.venv/**',
  'env/**',
  'venv/**',
  'ENV/**',
  'env.bak/**',
  'venv.bak/**',
]
const neverBundledTypescript = ['node_modules', '**/*.test.ts', 'dist/**', 'package-lock.json', 'tsconfig.json']
const depthMax = 10

export interface SelectionRules {
  readonly typescript: boolean
  readonly include: readonly string[] | undefined
  readonly exclude: readonly string[] | undefined
}

/** Paths relative to `directory`, sorted, without `pyproject.toml`. Throws a UsageError when a pattern fits nothing. */
export function selectFiles(directory: string, rules: SelectionRules): string[] {
  const types = rules.typescript ? [...pythonTypes, ...typescriptTypes] : pythonTypes
  const publishable = matcher([...types, ...publishOnly])
  const unpublished = matcher([
    ...neverPublished,
    ...gitignore(directory),
    ...(rules.typescript ? neverBundledTypescript : []),
  ])
  const candidates = walk(directory, '', rules.typescript).filter((path) => publishable(path) && !unpublished(path))
  for (const pattern of [...(rules.include ?? []), ...(rules.exclude ?? [])]) {
    if (!candidates.some(matcher([pattern]))) {
      throw new UsageError(
        `The pattern '${pattern}' of fab-include or fab-exclude in pyproject.toml matches no file: correct or remove it.`,
      )
    }
  }
  const included = rules.include ? candidates.filter(matcher(rules.include)) : candidates
  const excluded = rules.exclude ? matcher(rules.exclude) : () => false
  const chosen = included.filter((path) => !excluded(path))
  const bundled = matcher([...types, '/LICENSE'])
  const unbundled = matcher(neverBundled)
  if (rules.include) {
    const foreign = chosen.filter((path) => !bundled(path))
    if (foreign.length > 0)
      throw new UsageError(`fab-include selects files of types that a FAB does not carry: ${foreign.join(', ')}.`)
  }
  return chosen.filter((path) => bundled(path) && !unbundled(path)).sort(byCodePoint)
}

function matcher(patterns: readonly string[]): (path: string) => boolean {
  const rules = ignore({ ignorecase: false }).add([...patterns])
  return (path) => rules.ignores(path)
}

function gitignore(directory: string): string[] {
  try {
    const text = readFileSync(join(directory, '.gitignore'), 'utf8')
    return text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'))
  } catch {
    return []
  }
}

function walk(directory: string, prefix: string, typescript: boolean, depth = 0): string[] {
  if (depth > depthMax) throw new UsageError(`The folders of the app are nested deeper than ${depthMax}: '${prefix}'.`)
  return readdirSync(join(directory, prefix)).flatMap((name) => {
    const path = prefix === '' ? name : `${prefix}/${name}`
    const stats = lstatSync(join(directory, path))
    if (stats.isDirectory()) {
      // Never bundled, and large: not even looked into.
      if (name === '.git' || name === '__pycache__' || name === '.venv' || (typescript && name === 'node_modules'))
        return []
      return walk(directory, path, typescript, depth + 1)
    }
    return stats.isFile() ? [path] : []
  })
}

/** As Python sorts strings. */
function byCodePoint(left: string, right: string): number {
  const [a, b] = [[...left], [...right]]
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const difference = (a[index]?.codePointAt(0) ?? 0) - (b[index]?.codePointAt(0) ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}
