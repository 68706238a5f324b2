import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundlePage } from '../src/dashboard/bundle-page.ts'

/** Puts the page of the dashboard into `dist`, bundled: the package needs none of the libraries in it. */
const root = join(import.meta.dirname, '..')
const target = join(root, 'dist', 'web', 'page')
mkdirSync(target, { recursive: true })
const { html, script, style } = await bundlePage(join(root, 'src', 'web', 'page'))
for (const [name, text] of [
  ['page.html', html],
  ['page.bundle.js', script],
  ['page.bundle.css', style],
] as const)
  writeFileSync(join(target, name), text)
