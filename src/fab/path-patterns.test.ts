import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compilePatterns, PatternError, splitLinesPython, stripPython } from './path-patterns.ts'

/** The paths that the patterns choose. */
function chosen(patterns: readonly string[], paths: readonly string[]): string[] {
  return paths.filter(compilePatterns(patterns))
}

test('a pattern without a slash matches at any depth, and a folder with all that is in it', () => {
  const paths = ['a', 'x/a', 'x/a/b/c', 'ab', 'x/y']
  assert.deepEqual(chosen(['a'], paths), ['a', 'x/a', 'x/a/b/c'])
  assert.deepEqual(chosen(['a/'], paths), ['x/a/b/c'])
  assert.deepEqual(chosen(['/a'], paths), ['a'])
  assert.deepEqual(chosen(['x/a'], paths), ['x/a', 'x/a/b/c'])
  assert.deepEqual(chosen(['**/'], paths), ['x/a', 'x/a/b/c', 'x/y'])
})

test('the last pattern that matches decides, in excluded folders too', () => {
  const paths = ['data/a.csv', 'data/config.json', 'b']
  assert.deepEqual(chosen(['data/', '!data/config.json'], paths), ['data/a.csv'])
  assert.deepEqual(chosen(['*', '!b', 'b'], paths), paths)
})

test('stars, question marks and sets stay within a name', () => {
  const paths = ['a.py', 'ab.py', 'd/a.py', 'a-py', ']x', '😀x']
  assert.deepEqual(chosen(['/*.py'], paths), ['a.py', 'ab.py'])
  assert.deepEqual(chosen(['/?.py'], paths), ['a.py'])
  assert.deepEqual(chosen(['/?x'], paths), [']x', '😀x'])
  assert.deepEqual(chosen(['/[]a]x'], paths), [']x'])
  assert.deepEqual(chosen(['/[!a]x'], paths), [']x', '😀x'])
  assert.deepEqual(chosen(['d/**/a.py', 'a**b*'], paths), ['ab.py', 'd/a.py'])
  assert.deepEqual(chosen(['\\?', 'a[', '[', '#x', '', '/'], ['?', 'a[', '[', '#x', 'b']), ['?', 'a[', '['])
})

test('a pattern that has no meaning is an error that quotes it', () => {
  for (const pattern of ['!', 'a\\', '[z-a]'])
    assert.throws(
      () => compilePatterns([pattern]),
      (error: Error) => error instanceof PatternError && error.message.includes(pattern),
    )
})

test('lines and spaces are those of Python: a byte order mark is neither', () => {
  assert.deepEqual(splitLinesPython('a\r\nb\rc\vd\fe\u0085f\u2028g'), ['a', 'b', 'c', 'd', 'e', 'f', 'g'])
  assert.equal(stripPython('\u00a0\t\ufeffa \u3000\u001f'), '\ufeffa')
})
