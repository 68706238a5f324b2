import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Fills this folder before it is packed: the SDK compiled, without the programs, the pages for authors of apps, and the API reference. */

const root = join(import.meta.dirname, '..', '..')
const here = (...path: string[]): string => join(import.meta.dirname, ...path)

for (const made of ['dist', 'docs']) rmSync(here(made), { recursive: true, force: true })
execFileSync('tsc', ['-p', here('tsconfig.json')], { stdio: 'inherit' })
mkdirSync(here('docs'), { recursive: true })
cpSync(join(root, 'LICENSE'), here('LICENSE'))
const pages = [
  'guides/write-a-strategy.md',
  'guides/python-and-typescript.md',
  'guides/simulation.md',
  'reference/strategies.md',
]
for (const page of pages) cpSync(join(root, 'docs', page), here('docs', page))
// Warnings end it: names that are not documented, and links that lead nowhere.
execFileSync('npm', ['run', 'docs'], { cwd: root, stdio: 'inherit' })
