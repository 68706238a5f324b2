import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findPathCollision, memberPathFault } from './member-paths.ts'

test('a path inside a bundle neither leaves it nor hides', () => {
  const bad = [
    '/a',
    '../a',
    'a/../b',
    'a/..',
    'c:/a',
    'C:a',
    'a\\b',
    'a\0b',
    'a\nb',
    'a//b',
    './a',
    'a/',
    '',
    'a\u202eb',
    'a\ufffdb',
    'é'.repeat(513),
  ]
  assert.deepEqual(
    bad.filter((path) => memberPathFault(path) === undefined),
    [],
  )
  const good = ['a', 'a/b.py', '..a/b..', '...', '.gitignore', 'ä/ö ü.md', '日本/データ.json', 'a,b.json']
  assert.deepEqual(good.map(memberPathFault).filter(Boolean), [])
})

test('paths that one file system would take for the same collide', () => {
  assert.equal(findPathCollision(['a/b', 'a/c', 'ab', 'a.md', 'A2']), undefined)
  assert.deepEqual(findPathCollision(['x', 'Readme.md', 'README.md']), ['Readme.md', 'README.md'])
  assert.deepEqual(findPathCollision(['caf\u00e9', 'cafe\u0301']), ['caf\u00e9', 'cafe\u0301'])
  assert.deepEqual(findPathCollision(['a', 'a/b']), ['a', 'a/b'])
  assert.deepEqual(findPathCollision(['A/x/y', 'a']), ['A/x/y', 'a'])
})
