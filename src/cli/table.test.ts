import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { details, table } from './table.ts'

test('columns are as wide as their widest cell, and no cell is cut', () => {
  const text = stripVTControlCharacters(
    table(
      ['Run ID', 'App'],
      [
        ['18446744073709551615', '@a/b==1.0.0'],
        ['7', 'ü'],
      ],
    ),
  )
  assert.deepEqual(text.split('\n'), [
    'Run ID                 App',
    '──────────────────────────────────',
    '18446744073709551615   @a/b==1.0.0',
    '7                      ü',
  ])
})

test('what comes from elsewhere cannot steer the terminal', () => {
  assert.equal(stripVTControlCharacters(table(['A'], [['\x1b[2Jx\ry\u0007']])).split('\n')[2], 'x y')
  assert.equal(stripVTControlCharacters(details([['Name', '\x1b]0;title\u0007two\nlines']])), 'Name   two lines')
})
