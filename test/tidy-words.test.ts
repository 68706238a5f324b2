import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { proseOf, type Token } from './harness/source-code.ts'

/** The rules for plain English that a machine can check. CONTRIBUTING.md gives them with examples. */

const root = join(import.meta.dirname, '..')
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8')
const files = ['src', 'packages', 'test', 'examples', 'templates', 'bench', 'scripts'].flatMap(walk)
const own = 'test/tidy-words.test.ts'
const sources = files.filter((path) => path.endsWith('.ts') && !path.startsWith('src/gen/') && path !== own)
/** The comments and strings of each source. */
const prose = sources.map((path) => ({ path, ...proseOf(textOf(path)) }))
const pages = [...readdirSync(root), ...walk('docs'), ...walk('examples')].filter((path) => path.endsWith('.md'))

interface DiscouragedWord {
  readonly words: RegExp
  readonly instead: string
}

/** Words of riddles: they do not name what they mean. */
const unnamed: readonly DiscouragedWord[] = [
  { words: /\b(?:whoever|whomever|whom|nobody|somebody|everybody|anybody)\b/i, instead: 'name the caller or program' },
  { words: /\bstrangers?\b/i, instead: 'name them: untrusted peers, third-party clients' },
  { words: /\bsuch a one\b/i, instead: 'name the thing' },
]

/** In comments and names of tests. */
const inComments: readonly DiscouragedWord[] = [
  ...unnamed,
  { words: /\bwho\b/i, instead: 'name the caller or program; "that" or "which" for a program' },
  { words: /\b(?:is|are|was|were) told of\b|\bTold of\b/, instead: '"is notified", "is logged", "called for"' },
  { words: /(?:^|[.;:] |\band )answers /i, instead: '"returns" for a function, "responds" for a server' },
]

function faultsOf(path: string, tokens: readonly Token[], discouraged: readonly DiscouragedWord[]): string[] {
  return tokens.flatMap(({ text, line }) => {
    const plain = sentencesOf(text)
    return discouraged.flatMap(({ words, instead }) => {
      const [found] = words.exec(plain) ?? []
      return found === undefined ? [] : [`${path}:${line} "${found.trim()}": ${instead}`]
    })
  })
}

/** Returns the text of a comment or string on one line, without its marks and without code. */
function sentencesOf(token: string): string {
  return (
    token
      .replace(/^(?:\/\*\*?|\/\/|['"])|(?:\*\/|['"])$/g, '')
      .replace(/\n\s*\* ?/g, ' ')
      .replace(/`[^`]*`/g, '`code`')
      // A word in quotes is mentioned, not used.
      .replace(/"\w+"/g, '"word"')
      .replace(/\s+/g, ' ')
      .trim()
  )
}

test('comments name what they mean', () => {
  assert.deepEqual(
    prose.flatMap(({ path, comments }) => faultsOf(path, comments, inComments)),
    [],
  )
})

test('names of tests name what they mean', () => {
  const wrong = sources.flatMap((path) => {
    const names = [...textOf(path).matchAll(/\b(?:test|describe)\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g)]
    return faultsOf(
      path,
      names.map(([, , text = '']) => ({ text, line: 0 })),
      inComments,
    )
  })
  assert.deepEqual(wrong, [])
})

test('sentences for users name what they mean', () => {
  const wrong = prose
    .filter(({ path }) => !path.endsWith('.test.ts') && !path.startsWith('test/'))
    .flatMap(({ path, strings }) =>
      faultsOf(
        path,
        strings.filter(({ text }) => text.includes(' ')),
        unnamed,
      ),
    )
  assert.deepEqual(wrong, [])
})

test('pages name what they mean', () => {
  const wrong = pages.flatMap((path) =>
    textOf(path)
      .replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/[^\n]/g, ''))
      .split('\n')
      .flatMap((text, index) => faultsOf(path, [{ text, line: index + 1 }], unnamed)),
  )
  assert.deepEqual(wrong, [])
})

/** Notes that are no sentences: at most three words, a formula, or the values of a column. */
const isNote = (text: string): boolean => text.split(' ').length <= 3 || / (?:[-+]?=|[+×x]) |' \| '/.test(text)

test('the first sentence of a doc comment begins with a capital and ends with a period', () => {
  const wrong = prose.flatMap(({ path, comments }) =>
    comments
      .filter(({ text }) => text.startsWith('/**'))
      .flatMap(({ text, line }) => {
        const [first = ''] = text.split(/\n\s*\*\s*\n|\s@\w+/)
        const sentence = sentencesOf(first)
        if (sentence === '' || isNote(sentence)) return []
        // Names that are written in small letters, such as gRPC and csi-driver-spiffe, have a capital or a hyphen inside.
        if (/^[a-z]+[\s']/.test(sentence)) return [`${path}:${line} begins with a small letter: ${sentence}`]
        return /[.:?!…][)"'”]*$/.test(sentence) ? [] : [`${path}:${line} does not end with a period: ${sentence}`]
      }),
  )
  assert.deepEqual(wrong, [])
})

/** Earlier commits are as they are. */
const subjectsSince = Date.parse('2026-11-29T14:00:00Z')
const subjectLengthMax = 72

test('subjects of commits have at most 72 characters and no period', (context) => {
  const log = spawnSync('git', ['log', '--no-merges', '--max-count=500', '--format=%at %s'], {
    cwd: root,
    encoding: 'utf8',
  })
  if (log.status !== 0) return context.skip('not in a clone of the repository')
  const wrong = log.stdout
    .split('\n')
    .map((line) => /^(\d+) (.*)$/.exec(line))
    .filter((match) => match !== null && Number(match[1]) * 1000 >= subjectsSince)
    .map((match) => match?.[2] ?? '')
    .filter((subject) => subject.length > subjectLengthMax || subject.length < 10 || subject.endsWith('.'))
  assert.deepEqual(wrong, [])
})

function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory())
      return ['node_modules', 'dist', 'docs'].includes(entry.name) && folder !== '.' ? [] : walk(path)
    return [path]
  })
}
