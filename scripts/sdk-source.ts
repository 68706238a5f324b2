import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the source code of the SDK says of the classes, functions and options that authors of apps use. */

export const root = join(import.meta.dirname, '..')
const folders = ['strategy', 'selection', 'privacy', 'secure-aggregation', 'secagg-plus', 'compression', 'mods']
const sources: ReadonlyMap<string, string> = new Map(
  folders.flatMap((folder) =>
    readdirSync(join(root, 'src/sdk', folder))
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
      .map((name) => [`src/sdk/${folder}/${name}`, readFileSync(join(root, 'src/sdk', folder, name), 'utf8')] as const),
  ),
)

function find(pattern: RegExp): { path: string; match: RegExpExecArray } | undefined {
  for (const [path, text] of sources) {
    const match = pattern.exec(text)
    if (match) return { path, match }
  }
  return undefined
}

/** Returns the parent and the lines of an interface of options, or of a type that leaves out some of another. */
export function optionsText(name: string): { parent: string | undefined; body: string } {
  const found = find(new RegExp(`export interface ${name}(?: extends (\\w+))? \\{\\n([\\s\\S]*?)\\n\\}`))
  if (found) return { parent: found.match[1], body: found.match[2] as string }
  const [, whole = '', left = ''] = find(new RegExp(`export type ${name} = Omit<(\\w+), ([^>]+)>`))?.match ?? []
  if (whole === '') throw new Error(`There are no options ${name} in src/sdk.`)
  const names = [...left.matchAll(/'(\w+)'/g)].map(([, one = '']) => one)
  const option = new RegExp(
    `(?:  /\\*\\*(?:(?!\\*/)[\\s\\S])*\\*/\\n)?  readonly (?:${names.join('|')})\\??:.*\\n?`,
    'g',
  )
  const { parent, body } = optionsText(whole)
  return { parent, body: body.replace(option, '') }
}

export function parentOf(name: string): string | undefined {
  return optionsText(name).parent
}

/** Returns the file of a class, function or constant. */
export function sourceOf(name: string): string {
  const found = find(new RegExp(`export (?:abstract )?(?:class|function|const) ${name}\\b`))
  if (!found) throw new Error(`src/sdk does not export ${name}.`)
  return found.path
}

/** The first sentence of the comment of a class, function or constant. */
export function summaryOf(name: string): string {
  const pattern = new RegExp(`/\\*\\*((?:(?!\\*/)[\\s\\S])*)\\*/\\nexport (?:class|function|const) ${name}\\b`)
  const found = find(pattern)
  if (!found) throw new Error(`${name} has no comment.`)
  const [text = ''] = plain(found.match[1] as string).split(' @example')
  return text
}

export function plain(comment: string): string {
  return comment
    .replace(/^\s*\* ?/gm, '')
    .replace(/\{@link ([\w.]+)\}/g, '`$1`')
    .replace(/\s+/g, ' ')
    .replaceAll('|', '\\|')
    .trim()
}

/** What the SDK exports from these folders: values, and types that are named as options. */
export function exportsOf(): { values: string[]; options: string[] } {
  const index = readFileSync(join(root, 'src/sdk/index.ts'), 'utf8')
  const lists = [...index.matchAll(/export (type )?\{([^}]*)\} from '\.\/([\w-]+)\//g)].filter(([, , , folder = '']) =>
    folders.includes(folder),
  )
  const names = lists.flatMap(([, allTypes = '', list = '']) =>
    list
      .split(',')
      .map((name) => allTypes + name.trim())
      .filter((name) => name.trim() !== allTypes.trim()),
  )
  const types = names.filter((name) => name.startsWith('type ')).map((name) => name.slice('type '.length))
  return {
    values: names.filter((name) => !name.startsWith('type ')),
    options: types.filter((name) => /(?:Options|Config|Budget|KeepBest)$/.test(name)),
  }
}

/** Throws if a test is not there that a page names. */
export function ensureTest(path: string): void {
  if (!existsSync(join(root, path))) throw new Error(`There is no test ${path}.`)
}
