import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { randomFrom } from '../harness/random.ts'

/** Folders of apps as people may have them, made up by chance from a seed. */

type Pick = <T>(items: readonly T[]) => T

interface Chance {
  readonly below: (count: number) => number
  readonly pick: Pick
  readonly times: <T>(most: number, make: () => T) => T[]
}

function chanceOf(seed: number): Chance {
  const below = randomFrom(seed)
  const pick: Pick = (items) => items[below(items.length)] as (typeof items)[number]
  return { below, pick, times: (most, make) => Array.from({ length: below(most + 1) }, make) }
}

/** Writes the folder of a seed. */
export function writeFolder(folder: string, seed: number): void {
  const chance = chanceOf(seed)
  const write = (path: string, content: string | Uint8Array, mode = 0o644): void => {
    const file = join(folder, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, content, { mode })
  }
  mkdirSync(folder, { recursive: true })
  for (const path of pathsOf(chance)) write(path, contentOf(chance), chance.pick([0o644, 0o644, 0o755, 0o600]))
  write('pyproject.toml', projectOf(chance))
  if (chance.below(4) > 0) write('.gitignore', gitignoreOf(chance))
  if (chance.below(3) === 0) symlinkSync('pyproject.toml', join(folder, 'link.toml'))
  if (chance.below(3) === 0) symlinkSync('.', join(folder, 'loop'))
  if (chance.below(3) === 0) mkdirSync(join(folder, 'empty'))
  // A name that is not UTF-8, of a file that no bundle takes.
  if (chance.below(3) === 0) writeFileSync(Buffer.from(`${folder}/caf\xe9.png`, 'latin1'), '')
}

const folders = [
  '',
  '',
  'pkg/',
  'pkg/data/',
  'data/',
  'docs/a b/',
  'lib/',
  'build/',
  'env/',
  'venv/',
  'src/lib/',
  'ünïcode/',
  '日本/',
  'a/b/c/d/e/f/g/',
]
const stems = [
  'a',
  'b',
  'test_x',
  'x_test',
  'Read Me',
  'ö',
  'データ',
  '#hash',
  '!bang',
  'a,b',
  '[x]',
  'x.tar',
  '-',
  '😀',
  'name ',
  'LICENSE',
  'config',
]
const endings = ['.py', '.toml', '.md', '.yaml', '.yml', '.json', '.jsonl', '.txt', '.png', '.PY', '', '.pyc']
/** Each stands for a rule of the builder. */
const special = [
  'LICENSE',
  'LICENSE.md',
  'pkg/LICENSE',
  '.editorconfig',
  'pkg/.editorconfig',
  'pkg/.gitignore',
  '.info/CONTENT',
  '.info/x.md',
  '.flwr/x.py',
  'pkg/__pycache__/x.py',
  'pkg/pyproject.toml',
  'x.egg/a.py',
  '.eggs/a.py',
  'eggs/a.py',
  'parts/a.py',
  'lib64/a.py',
  'ENV/a.py',
  'env.bak/a.py',
  '.hidden/a.py',
  '.hidden.py',
  'venv/1/2/3/4/5/6/7/8/9/10/11/12/x.bin',
]

function pathsOf({ pick, times }: Chance): string[] {
  const made = times(24, () => `${pick(folders)}${pick(stems)}${pick(endings)}`)
  const all = [...made, ...times(8, () => pick(special)), 'pkg/__init__.py']
  // A path that is another one's folder, or differs in case alone, cannot be written everywhere.
  const kept = new Map<string, string>()
  for (const path of all) {
    const key = path.toLowerCase()
    const collides = [...kept.keys()].some((one) => one.startsWith(`${key}/`) || key.startsWith(`${one}/`))
    if (!collides && !kept.has(key) && path !== 'pyproject.toml' && path !== '.gitignore') kept.set(key, path)
  }
  return [...kept.values()]
}

function contentOf({ below, pick }: Chance): Uint8Array {
  const size = pick([0, 0, 1, 10, 1000, 70_000])
  return Uint8Array.from({ length: size }, () => below(256))
}

const patterns = [
  '*',
  '*.py',
  '/*.md',
  '**/*.json',
  'data/',
  '/data',
  'data/**',
  '!data/config.json',
  '!*.py',
  'pkg/*.py',
  '!pkg/',
  'lib',
  '**/lib/',
  '/lib/**',
  '**',
  '**/',
  '/',
  '//',
  'a/**/g',
  'a/**/*.py',
  '**/d/**',
  'docs/a b/*',
  'docs/',
  '*.t?ml',
  '[ab].py',
  '[!a]*.md',
  '[^b].py',
  '[a-c]*',
  '[]x].py',
  '[x].md',
  '\\[x\\]*',
  '\\#hash*',
  '#hash*',
  '\\!bang*',
  '!bang*',
  'ö*',
  'データ.*',
  '日本/',
  'ünïcode/*',
  '*.PY',
  '?.py',
  '??.md',
  'pyproject.toml',
  '!pyproject.toml',
  '*.toml',
  '.*',
  '!.gitignore',
  '**/test_*',
  'Read\\ Me.*',
  'name .py',
  'name*',
  '   *.yml   ',
  '*.jsonl\t',
  '\t',
  '# comment',
  '',
  '[',
  'x[',
  '[a',
  '*.*',
  '***.py',
  'a***',
  '**.py',
  'pkg/**/**/x',
  '**/**/x.py',
  '/**/x.py',
  '!/**/',
  '/**/',
  'a,b*',
  '😀.*',
  '?.json',
  '[😀-😂].md',
  '*/*.py',
  '*/',
  '/*/',
  '!*/',
  'pkg/data/*',
  '!pkg/data/a.py',
]

function gitignoreOf({ pick, times, below }: Chance): Uint8Array {
  const ending = pick(['\n', '\n', '\n', '\r\n', '\r', '\u2028', '\f', '\v', '\u0085'])
  // Most apps do not exclude their own pyproject.toml.
  const last = below(5) > 0 ? ['!pyproject.toml', ''] : ['']
  const text = [...times(6, () => pick(patterns)), ...last].join(ending)
  if (below(6) === 0) return Buffer.from(`\ufeff${text}`)
  return below(8) === 0 ? Buffer.concat([Buffer.from(text), Buffer.from('# caf\xe9\n', 'latin1')]) : Buffer.from(text)
}

const keys = [
  'a',
  'b',
  'long-key_1',
  '10',
  '2',
  '"quoted key"',
  "'lit.eral'",
  '"\\u00e9"',
  '""',
  '"tab\\there"',
  'é1'.normalize() && '"é"',
  'x.y',
  'x.z.w',
  '3.14',
  '"__proto__"',
  'constructor',
]
const strings = [
  '""',
  '"a b"',
  "'c:\\dir'",
  '"\\t\\n\\\\ \\" \\u00e9 \\U0001F600 \\b\\f\\r"',
  '"tab\there"',
  '"\\u007f\\u0080\\u001b"',
  '"""\nfirst\nsecond "quoted" \\\n   joined"""',
  "'''\nraw \\n\n'''",
  '"é 日本 😀"',
  '"#no comment"',
  '"\\u0085\\u2028"',
  '"""a""""',
  "''''quoted''''",
]
const numbers = [
  '0',
  '-1',
  '+7',
  '1_000',
  '0xdead_BEEF',
  '0o17',
  '0b1010',
  '9007199254740993',
  '-9223372036854775808',
  '9223372036854775807',
]
const floats = [
  '1.0',
  '-0.0',
  '3.14',
  '1e6',
  '1e16',
  '1e22',
  '5e-324',
  '1.5e-5',
  '6.02e23',
  '123456789012345680.0',
  '0.1',
  'inf',
  '-inf',
  '+inf',
  'nan',
  '-nan',
  '1_0.0_1',
  '1e+06',
  '224_617.445_991_228',
]
const dates = [
  '1979-05-27',
  '1979-05-27T07:32:00Z',
  '1979-05-27 07:32:00z',
  '1979-05-27T00:32:00.999999-07:00',
  '1979-05-27T07:32:00',
  '1979-05-27t07:32:00.5',
  '1979-05-27T00:32:00.123456789',
  '07:32:00',
  '00:32:00.999',
  '07:32:00.000',
  '2024-02-29',
  '0001-01-01',
  '9999-12-31T23:59:59.999999+14:00',
  '1979-05-27T07:32:00-00:00',
  '1979-05-27T07:32:00+00:00',
  '2000-01-01T00:00:00+05:30',
]

function scalarOf({ pick }: Chance): string {
  return pick(pick([strings, numbers, floats, ['true', 'false'], dates]))
}

function valueFor(chance: Chance, depth = 0): string {
  const { below, times, pick } = chance
  const kind = depth > 2 ? 0 : below(6)
  if (kind === 4) {
    const items = times(4, () => valueFor(chance, depth + 1))
    return pick([`[${items.join(', ')}]`, `[\n  ${items.map((item) => `${item}, # why\n`).join('  ')}]`])
  }
  if (kind === 5) {
    const pairs = [...new Set(times(4, () => pick(['a', 'b', '7', '"k k"', 'long-name-of-a-key'])))]
    return `{${pairs.map((key) => `${key} = ${valueFor(chance, depth + 1)}`).join(', ')}}`
  }
  return scalarOf(chance)
}

function projectOf(chance: Chance): string {
  const { pick, times, below } = chance
  const pairs = (count: number, value: () => string): string => {
    const names = new Map(times(count, () => [pick(keys), value()] as const))
    // Of keys that extend each other only one may stay.
    if (names.has('x.y') || names.has('x.z.w')) names.delete('x')
    return [...names].map(([key, one]) => `${key} = ${one}\n`).join('')
  }
  const rows = times(
    3,
    () =>
      `[[tool.rows]]\n${pairs(3, () => valueFor(chance, 1))}${below(2) === 0 ? '[tool.rows.sub]\nk = 1\n[[tool.rows.more]]\n[[tool.rows.more]]\nz = "z"\n' : ''}`,
  )
  const parts = [
    `[project]\nname = "corpus"\nversion = "1.0.0"\n${pairs(3, () => valueFor(chance))}`,
    `[tool.flwr.app]\npublisher = "someone"\n${selectionOf(chance)}`,
    `[tool.flwr.app.components]\nserverapp = "elsewhere.server:app"\nclientapp = "elsewhere.client:app"\n`,
    `[tool.flwr.app.config]\nrounds = 3\nlr = 1e-5\n${below(2) === 0 ? '10 = 1\n9.5 = 2\n"a b" = "c"\n' : ''}`,
    ...(below(2) === 0 ? ['[tool.flwr.federations]\ndefault = "x"\n[tool.flwr.federations.x]\naddress = "a:1"\n'] : []),
    rows.join(''),
    ...times(3, () => below(99))
      .map((number) => `[tool.t${number}.deep."k.k"]\n${pairs(5, () => valueFor(chance))}`)
      .filter((part, index, all) => all.findIndex((one) => one.split('\n')[0] === part.split('\n')[0]) === index),
    ...(below(3) === 0
      ? [
          `[build-system]\nrequires = ["hatchling"]\nlong = [{a = "${'x'.repeat(40)}"}, {a = "${'y'.repeat(below(80))}"}]\n`,
        ]
      : []),
  ]
  const from = below(parts.length)
  const text = [...parts.slice(from), ...parts.slice(0, from)].join(pick(['\n', '', '\n# comment\n']))
  return below(5) === 0 ? text.replaceAll('\n', '\r\n') : text
}

function selectionOf({ pick, times, below }: Chance): string {
  if (below(4) > 0) return ''
  const list = (): string => JSON.stringify([pick(patterns), ...times(2, () => pick(patterns))])
  const include = below(2) === 0 ? `fab-include = ${list()}\n` : ''
  return `${include}${below(2) === 0 ? `fab-exclude = ${list()}\n` : ''}`
}
