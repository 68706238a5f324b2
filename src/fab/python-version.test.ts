import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compareVersions, type PythonVersion, parseVersion, type Specifier, satisfies } from './python-version.ts'

const version = (text: string): PythonVersion => {
  const parsed = parseVersion(text)
  assert.ok(parsed, text)
  return parsed
}

test('versions are in the order of PEP 440', () => {
  const ascending = [
    ...['1.dev0', '1.0.dev456', '1.0a1', '1.0a2.dev456', '1.0a12.dev456', '1.0a12', '1.0b1.dev456', '1.0b2'],
    ...['1.0b2.post345.dev456', '1.0b2.post345', '1.0rc1.dev456', '1.0rc1', '1.0', '1.0+abc.5', '1.0+abc.7', '1.0+5'],
    ...['1.0.post456.dev34', '1.0.post456', '1.0.15', '1.1.dev1', '1.10', '1!0.1'],
  ]
  ascending.forEach((one, index) => {
    for (const [at, other] of ascending.entries())
      assert.equal(Math.sign(compareVersions(version(one), version(other))), Math.sign(index - at), `${one} ${other}`)
  })
})

test('one version has many spellings, and what is none is not read', () => {
  for (const [one, other] of [
    ['1.29', '1.29.0.0'],
    ['v1.0-RC.2', '1.0rc2'],
    ['1.0c2', '1.0preview2'],
    ['1.0alpha', '1.0a0'],
    ['1.0-1', '1.0.post1'],
    ['1.0r4', '1.0_rev_4'],
    ['1.0+Ubuntu-1', '1.0+ubuntu.01'],
    [' 1.0DEV ', '1.dev0'],
  ] as const)
    assert.equal(compareVersions(version(one), version(other)), 0, `${one} ${other}`)
  for (const text of ['', 'latest', '1..2', '1.0+', '1.0.x', '1.0a1b2', '-1', '1.29.*'])
    assert.equal(parseVersion(text), undefined, text)
})

const conditions: readonly (readonly [string, string, string, boolean])[] = [
  ['1.29.1', '==', '1.29.*', true],
  ['1.29', '==', '1.29.0.*', true],
  ['1.290', '==', '1.29.*', false],
  ['1.29.0+cu12', '==', '1.29', true],
  ['1.29.0', '==', '1.29+cu12', false],
  ['1.29.1', '!=', '1.29.*', false],
  ['1.30', '~=', '1.29', true],
  ['1.30', '~=', '1.29.0', false],
  ['2.0', '~=', '1.29', false],
  ['1.29.0+cu12', '>=', '1.29', true],
  ['1.29.post1', '>', '1.29', false],
  ['1.29+cu12', '>', '1.29', false],
  ['1.29.post2', '>', '1.29.post1', true],
  ['1.29.1', '>', '1.29', true],
  ['1.28', '<', '1.29', true],
  ['1.29rc1', '<', '1.29rc2', true],
  ['1.29rc1', '>=', '1.28', false],
  ['1.29rc1', '>=', '1.28rc1', true],
  ['1.29rc1', '!=', '1.28rc1', false],
  ['1.29.0', '===', '1.29.0', true],
  ['1.29', '===', '1.29.0', false],
]

for (const [text, operator, named, expected] of conditions) {
  test(`${text} ${expected ? 'meets' : 'does not meet'} ${operator} ${named}`, () => {
    assert.equal(satisfies(version(text), [{ operator, version: named }]), expected)
  })
}

test('a pre-release of the version that is an upper bound does not meet it, although one of the conditions names some', () => {
  const all: Specifier[] = [
    { operator: '>=', version: '1.28rc1' },
    { operator: '<', version: '1.29' },
  ]
  assert.equal(satisfies(version('1.29rc1'), all), false)
  assert.equal(satisfies(version('1.28rc2'), all), true)
})
