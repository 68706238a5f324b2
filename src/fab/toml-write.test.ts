import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TomlFault } from '../base/toml.ts'
import { parseOrderedToml } from './ordered-toml.ts'
import { writeToml } from './toml-write.ts'

const rewritten = (text: string): string => writeToml(parseOrderedToml(text))

test('dates survive as Python prints them', () => {
  const pairs: readonly [string, string][] = [
    ['1979-05-27', '1979-05-27'],
    ['07:32:00', '07:32:00'],
    ['00:32:00.999', '00:32:00.999000'],
    ['1979-05-27T07:32:00Z', '1979-05-27 07:32:00+00:00'],
    ['1979-05-27t00:32:00.123456789-07:00', '1979-05-27 00:32:00.123456-07:00'],
    ['1979-05-27 07:32:00.000', '1979-05-27 07:32:00'],
    ['1979-05-27T07:32:00-00:00', '1979-05-27 07:32:00+00:00'],
  ]
  for (const [text, written] of pairs) assert.equal(rewritten(`a = ${text}`), `a = ${written}\n`)
})

test('keys keep their order, numbers among them, and tabs stay as they are', () => {
  assert.equal(rewritten('b = 1\n10 = 2\n"2" = 3\n"a b" = "x\\ty"\n'), 'b = 1\n10 = 2\n2 = 3\n"a b" = "x\ty"\n')
})

test('tables, rows and inline tables have the layout of Flower’s builder', () => {
  const text = `[a.b]
x = [1, [2]]
[[a.rows]]
k = "${'x'.repeat(90)}"
[[a.rows]]
[a.rows.sub]
[a]
mixed = [1, {u = [1], v = {}}]
short = [{a = 1}, {b = 2}]
`
  assert.equal(
    rewritten(text),
    `[a]
mixed = [
    1,
    { u = [
    1,
], v = {} },
]
short = [
    { a = 1 },
    { b = 2 },
]

[a.b]
x = [
    1,
    [
        2,
    ],
]

[[a.rows]]
k = "${'x'.repeat(90)}"

[[a.rows]]

[a.rows.sub]
`,
  )
})

test('what is no TOML is a fault with its line', () => {
  assert.throws(
    () => parseOrderedToml('a = 1\nb = '),
    (error: Error) => error instanceof TomlFault && /line 2/.test(error.message),
  )
})
