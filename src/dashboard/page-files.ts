import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Files of the page, by path. */
export type PageFiles = Readonly<Record<string, { readonly type: string; readonly body: string | Uint8Array }>>

const web = join(import.meta.dirname, '..', 'web', 'page')

/** The page: as `npm run build` bundled it, or bundled now from the source. */
export async function readPageFiles(): Promise<PageFiles> {
  const { html, script, style } = existsSync(join(web, 'page.bundle.js'))
    ? { html: read('page.html'), script: read('page.bundle.js'), style: read('page.bundle.css') }
    : await (await import('./bundle-page.ts')).bundlePage(web)
  return {
    '/': { type: 'text/html; charset=utf-8', body: html },
    '/page.js': { type: 'text/javascript; charset=utf-8', body: script },
    '/page.css': { type: 'text/css; charset=utf-8', body: style },
  }
}

function read(name: string): string {
  return readFileSync(join(web, name), 'utf8')
}
