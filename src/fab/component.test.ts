import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { UsageError } from '../base/errors.ts'
import { checkComponent } from './component.ts'

const directory = temporaryDirectory()
after(() => directory[Symbol.dispose]())
mkdirSync(directory.file('pkg'))
const sources = ['app = ServerApp()', 'x = app = ServerApp()', 'app: ServerApp = ServerApp()', '__all__ = ["app"]']
const paths = sources.map((source, index) => {
  writeFileSync(directory.file(`pkg/m${index}.py`), `import flwr\n${source}\n`)
  return `pkg/m${index}.py`
})
const check = (reference: string): string | undefined => checkComponent(directory.path, reference, paths)

test('an attribute may be assigned in any way', () => {
  for (const index of sources.keys()) assert.equal(check(`pkg.m${index}:app`), undefined)
  assert.throws(() => check('pkg.m0:other'), /names 'other', which pkg\/m0\.py does not define/)
  assert.throws(() => check('pkg.m0:app('), UsageError)
})

test('a module of the app that is not there, or no module at all, is refused with the way to write it', () => {
  assert.throws(() => check('pkg.sever:app'), /names pkg\/sever\.py, which is not among the app's files/)
  assert.throws(() => check('pkg/m0:app'), /is no Python module: write pkg\.m0:app/)
  assert.throws(() => check('pkg/m0.py:app'), /is no Python module: write pkg\.m0:app/)
  assert.match(check('elsewhere.server:app') ?? '', /must be installed wherever the app runs/)
})
