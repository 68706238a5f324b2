import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measureToml, parseToml, TomlFault } from './toml.ts'

test('depth and parts are measured without parsing', () => {
  const cases: readonly [string, number, number][] = [
    ['', 0, 0],
    ['a = 1\nb = 2', 0, 2],
    ['[a.b]\nc.d.e = 1', 2, 5],
    ['a = [1.5, 2.5, [3.5]]', 3, 8],
    ['a = "[[[[" # [[[[\nb = \'{{{\'', 0, 2],
    ['a = "x\\"[[["', 0, 1],
    ['a = """\n[[ " "" [[\n"""\nb = [[1]]', 2, 4],
    ['a = """x"""""\nb = [1]', 1, 3],
    ["a = '''x\\'''\nb = [1]", 1, 3],
    ['a = "not closed [[[\nb = [1]', 1, 3],
    ['a = {b.c = {d = 1}}', 2, 6],
  ]
  for (const [text, depth, parts] of cases) assert.deepEqual(measureToml(text), { depth, parts }, text)
})

test('a fault is one printable line that names where it is', () => {
  assert.throws(
    () => parseToml('a = 1\nb = \u001b[31m'),
    (error: Error) => {
      assert.ok(error instanceof TomlFault)
      assert.match(error.message, /line 2$/)
      assert.doesNotMatch(error.message, /\p{Cc}/u)
      return true
    },
  )
  const bounds = { bytesMax: 20, partsMax: 3 }
  assert.throws(() => parseToml(`a = "${'é'.repeat(10)}"`, { bounds }), /^TomlFault: it is larger than 20 bytes$/)
  assert.throws(() => parseToml('a=[1,2,3]', { bounds }), /^TomlFault: it has more than 3 keys, elements and tables$/)
  assert.throws(() => parseToml(`a=${'['.repeat(9999)}`), /^TomlFault: tables or arrays are nested deeper than 32$/)
})
