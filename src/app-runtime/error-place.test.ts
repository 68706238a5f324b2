import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { temporaryDirectory } from '../../test/harness/directory.ts'
import { errorWithPlace, textWithPlace } from './error-place.ts'

async function thrownBy(work: () => unknown): Promise<unknown> {
  try {
    await work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

test('an error names the line of the app, not one of its packages or of the SDK', async () => {
  using directory = temporaryDirectory()
  mkdirSync(directory.file('node_modules/lib'), { recursive: true })
  writeFileSync(directory.file('node_modules/lib/package.json'), '{"main":"index.mjs"}')
  mkdirSync(directory.file('digits'))
  writeFileSync(directory.file('node_modules/lib/index.mjs'), 'export const fail = () => null.length\n')
  const source = `import { fail } from 'lib'
export function train() {
  return dat.length
}
export async function evaluate() {
  await Promise.resolve()
  return fail()
}
`
  writeFileSync(directory.file('digits/client-app.mjs'), source)
  const url = `${pathToFileURL(directory.file('digits/client-app.mjs')).href}?load=2`
  const app = (await import(url)) as { train: () => number; evaluate: () => Promise<number> }
  const folders = [directory.path]
  const reference = await thrownBy(app.train)
  assert.equal(errorWithPlace(reference, folders), 'ReferenceError: dat is not defined (digits/client-app.mjs:3:3)')
  assert.match(
    textWithPlace(await thrownBy(app.evaluate), folders),
    /reading 'length'\) \(digits\/client-app\.mjs:7:10\)$/,
  )
})

test('what has no stack, or none of the app, stays as it is', () => {
  assert.equal(errorWithPlace('no data', ['/app']), 'no data')
  assert.equal(errorWithPlace(new Error('no data'), ['/app']), 'Error: no data')
  const odd = Object.assign(new Error('no data'), {
    stack: 'Error: no data\n    at file:///app%ZZ:1:1\n    at (/app/x:1:1)',
  })
  assert.equal(errorWithPlace(odd, ['/app']), 'Error: no data')
})
