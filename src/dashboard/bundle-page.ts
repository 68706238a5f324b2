import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Packages that are part of the bundle. Their licences demand to be reproduced with it. */
const bundled = ['preact', 'htm', 'uplot'] as const
const root = join(import.meta.dirname, '..', '..')

/** Makes one script and one style sheet of the page in `src/web/page`, for browsers of the last three years. */
export async function bundlePage(folder: string): Promise<{ html: string; script: string; style: string }> {
  const { build } = await import('esbuild')
  const { outputFiles } = await build({
    entryPoints: [join(folder, 'page.ts'), join(folder, 'page.css')],
    bundle: true,
    write: false,
    minify: true,
    format: 'esm',
    target: ['chrome120', 'firefox120', 'safari17'],
    outdir: 'out',
    legalComments: 'none',
    logLevel: 'silent',
    banner: { js: `/*!\n${bundled.map(licenceOf).join('\n')}*/` },
  })
  const text = (ending: string): string => outputFiles.find(({ path }) => path.endsWith(ending))?.text ?? ''
  return { html: readFileSync(join(folder, 'page.html'), 'utf8'), script: text('.js'), style: text('.css') }
}

function licenceOf(name: string): string {
  const text = readFileSync(join(root, 'node_modules', name, 'LICENSE'), 'utf8')
  return `${name}\n\n${text.replaceAll('*/', '* /')}\n`
}
