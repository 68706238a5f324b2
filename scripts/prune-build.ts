import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/** Deletes from `dist` the modules that no program loads and the declarations that the SDK's do not import. */

const dist = join(import.meta.dirname, '..', 'dist')
const files = readdirSync(dist, { recursive: true, encoding: 'utf8' })
const used = new Set([...reachable('.js', ['start.js', 'sdk/index.js']), ...reachable('.d.ts', ['sdk/index.d.ts'])])
for (const file of files) if (/\.(js|d\.ts)$/.test(file) && !used.has(file)) rmSync(join(dist, file))

/** Returns these files and all that they import, with `ending` in the place of the specifier's. */
function reachable(ending: '.js' | '.d.ts', starts: readonly string[]): Set<string> {
  const found = new Set(starts)
  // A set that grows while it is iterated also yields the new members.
  for (const file of found)
    for (const [, name = ''] of readFileSync(join(dist, file), 'utf8').matchAll(
      /\b(?:from|import)\s*\(?\s*['"](\.[^'"]+)\.[jt]s['"]/g,
    ))
      found.add(normalize(join(dirname(file), `${name}${ending}`)))
  return found
}
