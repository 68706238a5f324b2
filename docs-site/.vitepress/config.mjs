import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig } from 'vitepress'

const pages = join(import.meta.dirname, '..', 'pages')

/** Returns the pages of a folder with their titles, in the order of the titles. */
function listed(folder) {
  return readdirSync(join(pages, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => {
      const [, text = name] = /^# (.+)$/m.exec(readFileSync(join(pages, folder, name), 'utf8')) ?? []
      return { text: text.replaceAll('`', ''), link: `/${folder}/${name.slice(0, -3)}` }
    })
    .toSorted((a, b) => a.text.localeCompare(b.text))
}

export default defineConfig({
  title: 'Trellis',
  description: 'Federated learning with mutual TLS',
  srcDir: 'pages',
  // Works from a folder of any server, without rewriting of addresses.
  base: process.env.DOCS_BASE ?? '/',
  cleanUrls: false,
  // A link without a page fails the build.
  ignoreDeadLinks: false,
  // Code in the pages holds {{ }}, which would be evaluated.
  markdown: { config: (markdown) => escapeBraces(markdown), anchor: { slugify: headingId } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Overview', link: '/readme' },
      { text: 'Mutual TLS', link: '/docs/guides/mutual-tls' },
      { text: 'SDK reference', link: '/sdk/index.html', target: '_self' },
      { text: 'Changes', link: '/changelog' },
    ],
    sidebar: [
      {
        text: 'Overview',
        items: [
          { text: 'Trellis', link: '/readme' },
          { text: 'Glossary', link: '/docs/glossary' },
        ],
      },
      { text: 'Guides', items: listed('docs/guides') },
      { text: 'Reference', items: listed('docs/reference') },
      {
        text: 'About',
        items: [
          { text: 'Architecture', link: '/architecture' },
          { text: 'Threat model', link: '/docs/threat-model' },
          { text: 'Security', link: '/security' },
          { text: 'Benchmarks', link: '/docs/benchmarks' },
          { text: 'Contributing', link: '/contributing' },
        ],
      },
      { text: 'Decisions', collapsed: true, items: listed('docs/decisions') },
    ],
  },
})

/** Returns the id of a heading as GitHub makes it, so that links work there and here. */
function headingId(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-')
}

function escapeBraces(markdown) {
  const { code_inline: inline } = markdown.renderer.rules
  markdown.renderer.rules.code_inline = (tokens, index, options, env, self) => {
    tokens[index].attrSet('v-pre', '')
    return inline(tokens, index, options, env, self)
  }
}
