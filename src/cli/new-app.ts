import { readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { trellisVersion } from '../base/version.ts'

/** The files of a new app: those of a template under other names, and the settings of its npm project. */

export interface Template {
  /** What the app does, for `--help`. */
  readonly about: string
  /** The npm packages that the app imports, beside the SDK. */
  readonly packages?: Readonly<Record<string, string>>
}

export const templates = {
  typescript: { about: 'fits a line, in plain TypeScript' },
  tensorflow: {
    about: 'trains a network with TensorFlow.js',
    packages: {
      '@tensorflow/tfjs-backend-cpu': '4.22.0',
      '@tensorflow/tfjs-core': '4.22.0',
      '@tensorflow/tfjs-layers': '4.22.0',
    },
  },
  xgboost: { about: 'grows trees with XGBoost in Python ClientApps' },
  'secure-aggregation': { about: 'learns a mean without learning the value of a node' },
  asynchronous: { about: 'trains without rounds, so that slow nodes hold up no others' },
} as const satisfies Readonly<Record<string, Template>>

export type TemplateName = keyof typeof templates

/** Where this package lies: the repository, or the release that was installed. */
const packageFolder = join(import.meta.dirname, '..', '..')
/** A clone runs TypeScript: its SDK is imported as it is, because it has no build. */
const isClone = extname(import.meta.filename) === '.ts'

/** Returns the text of each file by its path. The names have been checked: they need no quotes anywhere. */
export function newAppFiles(
  name: string,
  publisher: string,
  templateName: TemplateName = 'typescript',
): Record<string, string> {
  const { packages = {} }: Template = templates[templateName]
  const named = (text: string): string => text.replaceAll('my-app', name).replaceAll('my-name', publisher)
  const files = readTemplate(join(packageFolder, 'templates', templateName))
  const appFiles = Object.fromEntries(
    Object.entries(files).map(([path, text]) => [named(path), extname(path) === '.ts' ? text : named(text)]),
  )
  const readme = appFiles['README.md'] ?? ''
  return {
    ...appFiles,
    'README.md': `${readme}${development}`,
    'package.json': json(npmProject(name, packages)),
    'tsconfig.json': json({ compilerOptions }),
    '.gitignore': 'node_modules/\n*.fab\n',
  }
}

function readTemplate(folder: string, prefix = ''): Record<string, string> {
  return Object.assign(
    {},
    ...readdirSync(join(folder, prefix), { withFileTypes: true }).map((entry) => {
      const path = `${prefix}${entry.name}`
      return entry.isDirectory()
        ? readTemplate(folder, `${path}/`)
        : { [path]: readFileSync(join(folder, path), 'utf8') }
    }),
  )
}

const development = `
## Change it

    npm install     # the types of the SDK, for the editor, the compiler and the test
    npx tsc         # checks the types
    npm test        # runs the app on nodes in memory

npm test needs Node 24 or later, which runs TypeScript files as they are.
`

function npmProject(name: string, packages: Readonly<Record<string, string>>): object {
  const manifest = JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8'))
  const tools = ['@types/node', 'typescript'].map((tool) => [tool, manifest.devDependencies[tool]])
  return {
    name: name.toLowerCase(),
    private: true,
    type: 'module',
    engines: { node: '>=24' },
    // Without a pattern, releases of Node that cannot run TypeScript find no test, and succeed.
    scripts: { test: `node ${isClone ? '--conditions=source ' : ''}--test "**/*.test.ts"` },
    // Apps import the SDK as trellis-fl; the package of that name has the programs too.
    dependencies: {
      ...packages,
      'trellis-fl': isClone ? `file:${packageFolder}` : `npm:trellis-fl-sdk@${trellisVersion}`,
    },
    devDependencies: Object.fromEntries(tools),
  }
}

/** The defaults of TypeScript, and what running files as they are needs. */
const compilerOptions = {
  target: 'esnext',
  module: 'nodenext',
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  moduleDetection: 'force',
  skipLibCheck: true,
  erasableSyntaxOnly: true,
  allowImportingTsExtensions: true,
  noEmit: true,
  ...(isClone ? { customConditions: ['source'] } : {}),
}

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}
