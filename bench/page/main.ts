import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PageData, pageText } from './page-text.ts'
import { scalePlots } from './scale-section.ts'

/** `docs/benchmarks.md` is made of figures in `docs/benchmarks/NAME.json`, each kept by the command that measures it. */
const docs = join(import.meta.dirname, '..', '..', 'docs')
const folder = join(docs, 'benchmarks')

/** Keeps figures, and draws the page anew with them. */
export async function keepForPage<K extends keyof PageData>(name: K, figures: NonNullable<PageData[K]>): Promise<void> {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(figures, null, 1)}\n`)
  await drawPage()
}

export async function drawPage(): Promise<void> {
  const data = readPageData()
  if (data.scale) {
    const { drawPlot } = await import('./plot.ts')
    for (const [name, plot] of Object.entries(scalePlots(data.scale)))
      writeFileSync(join(folder, `${name}.svg`), drawPlot(plot))
  }
  writeFileSync(join(docs, 'benchmarks.md'), pageText(data))
}

export function readPageData(): PageData {
  const read = <K extends keyof PageData>(name: K): PageData[K] => {
    const file = join(folder, `${name}.json`)
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as PageData[K]) : undefined
  }
  return {
    scale: read('scale'),
    waterfall: read('waterfall'),
    'bad-days': read('bad-days'),
    engines: read('engines'),
    tables: read('tables'),
  }
}
