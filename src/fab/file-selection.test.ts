import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { UsageError } from '../base/errors.ts'
import { selectFiles } from './file-selection.ts'

const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())
const rules = { typescript: false, include: undefined, exclude: undefined }

function folder(name: string, files: Readonly<Record<string, string | Buffer>>): string {
  const path = directory.file(name)
  for (const [file, content] of Object.entries({ 'pyproject.toml': '', ...files })) {
    mkdirSync(dirname(`${path}/${file}`), { recursive: true })
    writeFileSync(`${path}/${file}`, content)
  }
  return path
}

const deep = 'venv/lib/1/2/3/4/5/6/7/8/9/10'

test('folders may be as deep as they like where nothing is bundled', () => {
  const app = folder('deep', {
    'a.py': '',
    [`${deep}/x.h`]: '',
    [`ignored/${deep}/x.py`]: '',
    '.gitignore': 'ignored/\n',
  })
  assert.deepEqual(selectFiles(app, rules), ['a.py'])
  const tooDeep = folder('too-deep', { [`${deep}/x.py`]: '' })
  assert.throws(() => selectFiles(tooDeep, rules), /x\.py' lies more than 10 folders deep: move it up/)
})

test('links are left out, and a name that is not UTF-8 does no harm where it is not taken', () => {
  const app = folder('names', { 'a.py': '' })
  symlinkSync('a.py', `${app}/link.py`)
  writeFileSync(Buffer.from(`${app}/caf\xe9.png`, 'latin1'), '')
  assert.deepEqual(selectFiles(app, rules), ['a.py'])
})

test('.gitignore has its effect as Flower reads it', () => {
  const files = { 'a.py': '', 'data/a.json': '', 'data/config.json': '' }
  const all = ['a.py', 'data/a.json', 'data/config.json']
  const cases: readonly [string, string | Buffer, string[]][] = [
    ['a negation in an excluded folder', 'data/\n!data/config.json\n', ['a.py', 'data/config.json']],
    ['a byte order mark spoils the first line', '\ufeffdata/\na.py\n', ['data/a.json', 'data/config.json']],
    ['Latin-1 spoils it all', Buffer.from('data/ # \xe9\n', 'latin1'), all],
    ['other line ends', 'a.py\rdata/a.json\u2028x', ['data/config.json']],
  ]
  for (const [index, [what, content, expected]] of cases.entries())
    assert.deepEqual(selectFiles(folder(`ignore-${index}`, { ...files, '.gitignore': content }), rules), expected, what)
})

test('what cannot be meant is a mistake that is named', () => {
  const refused: readonly [string, object, RegExp][] = [
    ['*\n', {}, /The \.gitignore of the app excludes pyproject\.toml: add !pyproject\.toml at its end/],
    ['a\\\n', {}, /\.gitignore: 'a\\' is no pattern: correct or remove it/],
    ['', { include: ['x/'] }, /The pattern 'x\/' of fab-include in pyproject\.toml matches no file/],
    ['', { exclude: ['[z-a]'] }, /fab-exclude in pyproject\.toml: '\[z-a\]' is no pattern/],
  ]
  for (const [index, [gitignore, more, sentence]] of refused.entries()) {
    const app = folder(`mistake-${index}`, { 'a.py': '', '.gitignore': gitignore })
    assert.throws(
      () => selectFiles(app, { ...rules, ...more }),
      (error) => error instanceof UsageError && sentence.test(error.message),
      String(sentence),
    )
  }
})
