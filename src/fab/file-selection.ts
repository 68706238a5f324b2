import { isUtf8 } from 'node:buffer'
import { type Dirent, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { compilePatterns, PatternError, splitLinesPython, stripPython } from './path-patterns.ts'

/** Chooses the files of an app's folder that go into its bundle, as Flower's builder does. */

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

/**
 * Returns the paths of the files to bundle, relative to `directory`, sorted, without `pyproject.toml`. Throws a UsageError if
 * a pattern has no meaning or fits nothing, a file lies too deep, or `.gitignore` excludes `pyproject.toml`.
 */
export function selectFiles(directory: string, rules: SelectionRules): string[] {
  const types = rules.typescript ? [...pythonTypes, ...typescriptTypes] : pythonTypes
  const files = walk(directory, rules.typescript)
  const publishable = compilePatterns([...types, ...publishOnly])
  const unpublished = compilePatterns([...neverPublished, ...(rules.typescript ? neverBundledTypescript : [])])
  const ignored = compiled('.gitignore', files.includes('.gitignore') ? readGitignore(directory) : [])
  const candidates = files.filter((path) => publishable(path) && !unpublished(path) && !ignored(path))
  ensureDepth(candidates)
  if (!candidates.includes('pyproject.toml'))
    throw new UsageError('The .gitignore of the app excludes pyproject.toml: add !pyproject.toml at its end.')
  for (const [key, patterns] of [
    ['fab-include', rules.include ?? []],
    ['fab-exclude', rules.exclude ?? []],
  ] as const) {
    for (const pattern of patterns) {
      if (!candidates.some(compiled(`${key} in pyproject.toml`, [pattern]))) {
        throw new UsageError(
          `The pattern '${pattern}' of ${key} in pyproject.toml matches no file: correct or remove it.`,
        )
      }
    }
  }
  const included = rules.include ? candidates.filter(compilePatterns(rules.include)) : candidates
  const excluded = compilePatterns(rules.exclude ?? [])
  const chosen = included.filter((path) => !excluded(path))
  const bundled = compilePatterns([...types, '/LICENSE'])
  const unbundled = compilePatterns(neverBundled)
  if (rules.include) {
    const foreign = chosen.filter((path) => !bundled(path))
    if (foreign.length > 0)
      throw new UsageError(`fab-include selects files of types that a FAB does not carry: ${foreign.join(', ')}.`)
  }
  return chosen.filter((path) => bundled(path) && !unbundled(path)).sort(byCodePoint)
}

function compiled(where: string, patterns: readonly string[]): (path: string) => boolean {
  try {
    return compilePatterns(patterns)
  } catch (error) {
    if (!(error instanceof PatternError)) throw error
    throw new UsageError(`${where}: ${error.message}: correct or remove it.`, { cause: error })
  }
}

/** Only files that would be published count: an environment or a cache may be as deep as it likes. */
function ensureDepth(candidates: readonly string[]): void {
  const deep = candidates.find((path) => path.split('/').length - 1 > depthMax)
  if (deep !== undefined)
    throw new UsageError(
      `'${deep}' lies more than ${depthMax} folders deep: move it up, or leave it out with .gitignore.`,
    )
}

/** A file that is not UTF-8 has no effect, as with Flower. */
function readGitignore(directory: string): string[] {
  const bytes = readFileSync(join(directory, '.gitignore'))
  if (!isUtf8(bytes)) return []
  return splitLinesPython(bytes.toString())
    .map(stripPython)
    .filter((line) => line !== '' && !line.startsWith('#'))
}

/** Folders that are never bundled, and large: they are not even looked into. */
const skipped: readonly string[] = ['.git', '__pycache__', '.venv']

/** All regular files. Links are left out, and so are folders that cannot be read. */
function walk(directory: string, typescript: boolean): string[] {
  const files: string[] = []
  const pending: { readonly prefix: string; readonly at: Buffer }[] = [{ prefix: '', at: Buffer.from(directory) }]
  for (let folder = pending.pop(); folder; folder = pending.pop()) {
    for (const entry of entriesOf(folder.at)) {
      const name = nameOf(entry.name)
      const path = `${folder.prefix}${name}`
      if (entry.isFile()) files.push(path)
      else if (entry.isDirectory() && !skipped.includes(name) && !(typescript && name === 'node_modules'))
        pending.push({ prefix: `${path}/`, at: Buffer.concat([folder.at, Buffer.from('/'), entry.name]) })
    }
  }
  return files
}

function entriesOf(folder: Buffer): Dirent<Buffer>[] {
  try {
    return readdirSync(folder, { encoding: 'buffer', withFileTypes: true })
  } catch {
    return []
  }
}

/** As Python reads it: a byte that is not UTF-8 becomes a surrogate, which no path in a bundle may hold. */
function nameOf(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString()
  return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join('')
}

/** As Python sorts strings. */
export function byCodePoint(left: string, right: string): number {
  const [a, b] = [[...left], [...right]]
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const difference = (a[index]?.codePointAt(0) ?? 0) - (b[index]?.codePointAt(0) ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}
