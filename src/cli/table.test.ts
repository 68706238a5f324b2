import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { type Column, details, table } from './table.ts'

test('in a file, columns are as wide as their widest cell, and no cell is cut', () => {
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

const columns: Column[] = [
  { title: 'Run ID', isId: true },
  { title: 'Federation', rank: 3 },
  { title: 'App', rank: 1 },
  { title: 'Status' },
  { title: 'Elapsed', rank: 2 },
  { title: 'Description', isFreeText: true, rank: 4 },
]
const rows = [
  ['11004904891780290339', '@none/default', '@lab/digits==1.0.0', 'running', '2m 5s', ''],
  [
    '2502600160813711026',
    '@none/default',
    '@lab/digits==1.0.0',
    'finished',
    '4s',
    'Handwritten digits, nine hospitals, FedAdam',
  ],
]

function screen(width: number): string {
  return `\n${stripVTControlCharacters(table(columns, rows, width))}\n`
}

test('in a terminal a table fits: ids are shortened, then free text is cut, then columns are left out', () => {
  assert.equal(
    screen(160),
    `
Run ID                 Federation      App                  Status     Elapsed   Description
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
11004904891780290339   @none/default   @lab/digits==1.0.0   running    2m 5s
2502600160813711026    @none/default   @lab/digits==1.0.0   finished   4s        Handwritten digits, nine hospitals, FedAdam
`,
  )
  assert.equal(
    screen(110),
    `
Run ID     Federation      App                  Status     Elapsed   Description
──────────────────────────────────────────────────────────────────────────────────────────────────────────────
11004904   @none/default   @lab/digits==1.0.0   running    2m 5s
25026001   @none/default   @lab/digits==1.0.0   finished   4s        Handwritten digits, nine hospitals, FedA…
`,
  )
  assert.equal(
    screen(80),
    `
Run ID     Federation      App                  Status     Elapsed
──────────────────────────────────────────────────────────────────
11004904   @none/default   @lab/digits==1.0.0   running    2m 5s
25026001   @none/default   @lab/digits==1.0.0   finished   4s
One column is hidden: --wide shows all.
`,
  )
  assert.equal(
    screen(60),
    `
Run ID     App                  Status     Elapsed
──────────────────────────────────────────────────
11004904   @lab/digits==1.0.0   running    2m 5s
25026001   @lab/digits==1.0.0   finished   4s
2 columns are hidden: --wide shows all.
`,
  )
})

test('what comes from elsewhere cannot steer the terminal', () => {
  assert.equal(stripVTControlCharacters(table(['A'], [['\x1b[2Jx\ry\u0007']])).split('\n')[2], 'x y')
  assert.equal(stripVTControlCharacters(details([['Name', '\x1b]0;title\u0007two\nlines']])), 'Name   two lines')
})
