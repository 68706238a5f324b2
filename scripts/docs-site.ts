import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, normalize, posix, relative } from 'node:path'

/**
 * Builds the documentation site into `docs-site/dist`: the Markdown pages of the repository with search, and the reference of
 * the SDK. Ends with status 1 if a link of a built page leads nowhere. The site is static files and needs no network.
 */

const root = join(import.meta.dirname, '..')
const site = join(root, 'docs-site')
const pages = join(site, 'pages')
const built = join(site, 'dist')
/** Pages in the root, each with its name on the site. */
const rootPages: Readonly<Record<string, string>> = {
  'README.md': 'readme.md',
  'ARCHITECTURE.md': 'architecture.md',
  'CHANGELOG.md': 'changelog.md',
  'CONTRIBUTING.md': 'contributing.md',
  'SECURITY.md': 'security.md',
}

rmSync(pages, { recursive: true, force: true })
rmSync(built, { recursive: true, force: true })
const sources = [...Object.keys(rootPages), ...filesBelow('docs')]
for (const source of sources) copyPage(source)
cpSync(join(site, 'index.md'), join(pages, 'index.md'))

if (!isInstalled()) run('npm', ['ci', '--prefix', site, '--no-audit', '--no-fund', '--prefer-offline'])
run('npm', ['run', '--silent', 'docs'])
cpSync(join(root, 'packages/sdk/docs/api'), join(pages, 'public/sdk'), { recursive: true })
run(join(site, 'node_modules/.bin/vitepress'), ['build', site, '--outDir', built])

const broken = brokenLinks()
for (const line of broken) process.stderr.write(`${line}\n`)
process.stdout.write(
  `${broken.length} broken links. The site is in ${relative(root, built)}: open it with any web server.\n`,
)
process.exitCode = broken.length > 0 ? 1 : 0

/** Copies a page with its links as they are on the site. Other files are copied as they are. */
function copyPage(source: string): void {
  const target = join(pages, rootPages[source] ?? source)
  mkdirSync(dirname(target), { recursive: true })
  if (!source.endsWith('.md')) {
    cpSync(join(root, source), target)
    return
  }
  const text = readFileSync(join(root, source), 'utf8')
  const linked = text.replace(/(\]\()(?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)/g, (_all, start, path, anchor = '') => {
    const wanted = normalize(join(dirname(source), path))
    return `${start}${linkTo(wanted, dirname(rootPages[source] ?? source))}${anchor})`
  })
  writeFileSync(target, linked)
}

/** Returns the link from a folder of the site to a file of the repository. Files that are no pages are copied as text. */
function linkTo(wanted: string, from: string): string {
  if (wanted.endsWith('.md') && sources.includes(wanted)) return posix.relative(from, rootPages[wanted] ?? wanted)
  // The generator takes up images of pages, but no other files beside them.
  if (sources.includes(wanted) && /\.(?:svg|png|gif|jpe?g|webp)$/.test(wanted)) return posix.relative(from, wanted)
  const path = wanted.replace(/\/$/, '')
  const isFolder = statSync(join(root, path)).isDirectory()
  // Shown by browsers as text, whatever its kind. A folder is a list of its files.
  const copy = join(pages, 'public/files', `${path}.txt`)
  mkdirSync(dirname(copy), { recursive: true })
  writeFileSync(copy, isFolder ? `${filesBelow(path).join('\n')}\n` : readFileSync(join(root, path)))
  return `/files/${path}.txt`
}

/** Returns the links of built pages to pages, files or headings that are not there. */
function brokenLinks(): string[] {
  const html = readdirSync(built, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.html'))
  const ids = new Map<string, Set<string>>()
  const idsOf = (page: string): Set<string> => {
    const known = ids.get(page)
    if (known) return known
    const text = readFileSync(join(built, page), 'utf8')
    const found = new Set([...text.matchAll(/\sid="([^"]+)"/g)].map(([, id = '']) => id))
    ids.set(page, found)
    return found
  }
  return html.flatMap((page) => {
    const text = readFileSync(join(built, page), 'utf8')
    const links = new Set([...text.matchAll(/<a [^>]*?href="([^"]+)"/g)].map(([, href = '']) => href))
    return [...links].flatMap((href) => {
      if (/^[a-z]+:/.test(href)) return []
      const [path = '', anchor = ''] = href.split('#')
      const wanted = decodeURI(path.startsWith('/') ? path.slice(1) : posix.join(posix.dirname(page), path))
      const target = path === '' ? page : wanted.endsWith('/') || wanted === '' ? `${wanted}index.html` : wanted
      if (!existsSync(join(built, target))) return [`${page}: no page ${href}`]
      // The reference of the SDK makes some of its headings in the browser; TypeDoc checks its links.
      const isMissing =
        !page.startsWith('sdk/') &&
        anchor !== '' &&
        target.endsWith('.html') &&
        !idsOf(target).has(decodeURIComponent(anchor))
      return isMissing ? [`${page}: no heading ${href}`] : []
    })
  })
}

/** Returns whether the generator of the wanted version is there. */
function isInstalled(): boolean {
  const read = (path: string) => JSON.parse(readFileSync(join(site, path), 'utf8'))
  const installed = 'node_modules/vitepress/package.json'
  return existsSync(join(site, installed)) && read(installed).version === read('package.json').dependencies.vitepress
}

function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name)
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, { cwd: root, stdio: 'inherit' })
}
