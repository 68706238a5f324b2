import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Fills this folder before it is packed: the SDK compiled, without the programs, and the pages for authors of apps. */

const root = join(import.meta.dirname, '..', '..')
const here = (...path: string[]): string => join(import.meta.dirname, ...path)

for (const made of ['dist', 'docs']) rmSync(here(made), { recursive: true, force: true })
execFileSync('tsc', ['-p', here('tsconfig.json')], { stdio: 'inherit' })
mkdirSync(here('docs'))
cpSync(join(root, 'LICENSE'), here('LICENSE'))
for (const page of ['guides/simulation.md', 'reference/strategies.md'])
  cpSync(join(root, 'docs', page), here('docs', page.split('/')[1] as string))
