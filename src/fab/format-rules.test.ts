import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findFormatFault } from './format-rules.ts'

test('requirements of any form are read, and what is none is named', () => {
  const good = [
    'flwr',
    'flwr>=1.29',
    'flwr[simulation]>=1.29,<2.0',
    'numpy (>=1, <3)',
    "x ~= 1.0 ; python_version < '3.12'",
    'x @ https://example.org/x.whl',
    'a.b-c_d==1.*',
    'x>=1,',
    'x===any',
    'x==1.0+cu12',
    'x!=1.*',
  ]
  assert.equal(findFormatFault({ dependencies: good.filter((one) => !/^flwr[>[]/.test(one)) }, {}), undefined)
  for (const one of good) assert.equal(findFormatFault({ dependencies: [one] }, {}), undefined, one)
  for (const one of ['', 'flwr >', 'flwr=1', '>=1', 'a b', 'x>=1 y', 'x>=new', 'x>=1.*', 'x~=1', 'x<1+cu12'])
    assert.match(findFormatFault({ dependencies: [one] }, {}) ?? '', /Invalid dependency declaration/, one)
  assert.match(findFormatFault({ dependencies: ['flwr>=1', 'flwr[simulation]'] }, {}) ?? '', /Multiple "flwr"/)
  assert.match(findFormatFault({ dependencies: 'flwr' }, {}) ?? '', /expected a list/)
})

test('the format of a bundle is 0, or 1 with what that needs', () => {
  const version = (value: unknown): object => ({ 'fab-format-version': value, 'flwr-version-target': '1.29.0' })
  for (const value of ['1', 1.5, true, -1n])
    assert.match(findFormatFault({}, { ...version(value) }) ?? '', /non-negative integer/)
  assert.match(findFormatFault({}, { ...version(2n) }) ?? '', /Unsupported/)
  const project = { license: { file: 'LICENSE' }, dependencies: ['flwr>=1.29'] }
  assert.equal(findFormatFault(project, { ...version(1n) }), undefined)
  assert.match(findFormatFault({ ...project, license: 'MIT' }, { ...version(1n) }) ?? '', /license/)
  assert.match(findFormatFault({ ...project, dependencies: [] }, { ...version(1n) }) ?? '', /Missing "flwr"/)
  assert.match(findFormatFault(project, { 'fab-format-version': 1n }) ?? '', /flwr-version-target/)
})

test('the version that an app was made for is one, and meets what it asks of flwr', () => {
  const faultOf = (target: unknown, flower: string): string => {
    const project = { license: { file: 'LICENSE' }, dependencies: [flower] }
    return findFormatFault(project, { 'fab-format-version': 1n, 'flwr-version-target': target as string }) ?? ''
  }
  assert.equal(faultOf('1.29.0', 'flwr>=1.29'), '')
  assert.match(faultOf(true, 'flwr>=1.29'), /expected a string/)
  assert.match(faultOf('latest', 'flwr>=1.29'), /"latest" is no version, e\.g\. "1\.29\.0"/)
  assert.match(faultOf('', 'flwr>=1.29'), /is no version/)
  assert.match(faultOf('1.28.9', 'flwr>=1.29,>=1.20'), /lower than the lower bound/)
  assert.match(faultOf('1.29.0', 'flwr<2'), /a lower bound with ">=" is required/)
  assert.match(faultOf('2.0', 'flwr>=1.29,<2'), /does not meet/)
  // Pre-releases are meant only where one is named.
  assert.match(faultOf('1.30rc1', 'flwr>=1.29,<2'), /does not meet/)
  assert.equal(faultOf('1.30rc1', 'flwr>=1.29,<2.0rc1'), '')
})
