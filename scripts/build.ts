import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { bundlePrograms } from './bundle-programs.ts'

/** Fills `dist`: the programs and the SDK in bundles, and the declarations of the SDK. */

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')

rmSync(dist, { recursive: true, force: true })
execFileSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', 'tsconfig.build.json', '--emitDeclarationOnly'], {
  cwd: root,
  stdio: 'inherit',
})
const declarations = importedBy('sdk/index.d.ts')
// The files of a folder come after it, so they are gone when its turn comes.
for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' }).toReversed()) {
  const path = join(dist, file)
  if (statSync(path).isDirectory()) {
    if (readdirSync(path).length === 0) rmdirSync(path)
  } else if (!declarations.has(file)) rmSync(path)
}
for (const [path, content] of await bundlePrograms()) {
  mkdirSync(dirname(join(dist, path)), { recursive: true })
  writeFileSync(join(dist, path), content)
}

/** Returns this file of declarations and all that it imports. */
function importedBy(start: string): Set<string> {
  const found = new Set([start])
  // A set that grows while it is iterated also yields the new members.
  for (const file of found)
    for (const [, name = ''] of readFileSync(join(dist, file), 'utf8').matchAll(
      /\b(?:from|import)\s*\(?\s*['"](\.[^'"]+)\.[jt]s['"]/g,
    ))
      found.add(normalize(join(dirname(file), `${name}.d.ts`)))
  return found
}
