import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * The blocks of the README and the guides, and what their Markdown source says about running them. A comment in the line
 * before a block is one of:
 *
 * - `<!-- not run: REASON -->`: no test runs it.
 * - `<!-- terminal: NAME -->`: the program of the block stays in this terminal; a program that is there is stopped first.
 * - `<!-- in an empty folder -->`: everything that ran before is stopped.
 */
export interface Block {
  /** Path from the root of the repository, and line. */
  readonly place: string
  readonly language: string
  readonly text: string
  readonly notRun: string | undefined
  readonly terminal: string | undefined
  readonly inEmptyFolder: boolean
}

export const repository = join(import.meta.dirname, '..', '..')

export const guides = [
  'README.md',
  ...readdirSync(join(repository, 'docs', 'guides'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/guides/${name}`),
]

export function blocksOf(path: string): Block[] {
  const markdown = readFileSync(join(repository, path), 'utf8')
  return [...markdown.matchAll(/^((?:<!-- .* -->\n)*)```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => {
    const [, comments = '', language = '', text = ''] = match
    const said = (what: string): string | undefined => new RegExp(`<!-- ${what}: (.*) -->`).exec(comments)?.[1]
    return {
      place: `${path}:${markdown.slice(0, match.index + comments.length).split('\n').length}`,
      ...{ language, text, notRun: said('not run'), terminal: said('terminal') },
      inEmptyFolder: comments.includes('<!-- in an empty folder -->'),
    }
  })
}

/** Commands that a test adds to those of a guide; with a terminal, their last one stays there. */
export interface Added {
  readonly text: string
  readonly terminal?: string
}

export function commandBlock({ text, terminal }: Added): Block {
  return { place: 'the test', language: 'sh', text, notRun: undefined, terminal, inEmptyFolder: false }
}

/** Commands, which a shell runs. Blocks without a language are commands too. */
export const isCommands = ({ language }: Block): boolean => language === '' || language === 'sh'

/** The file that a block is to be saved as: its first line says so. */
export function fileOf({ language, text }: Block): string | undefined {
  const first = text.split('\n', 1)[0] ?? ''
  if (language === 'ts') return /^\/\/ (\S*\.ts)$/.exec(first)?.[1]
  return ['toml', 'yaml', 'ini'].includes(language) ? /^# (\S*\.\w+)$/m.exec(first)?.[1] : undefined
}

const longRunning = ['flower-superlink', 'flower-supernode', 'flower-superexec', 'stunnel'] as const

/** The program that a block leaves in the foreground: the last command, if it is one that does not end by itself. */
export function foregroundProgram(block: Block): (typeof longRunning)[number] | undefined {
  if (!isCommands(block)) return undefined
  const commands = block.text.replaceAll('\\\n', ' ').trim().split('\n')
  const last = commands.at(-1) ?? ''
  const [word = '', command = ''] = last.replaceAll("'", '').split(/\s/)
  const ends = / &$/.test(last) || ['backup', 'check'].includes(command)
  return ends ? undefined : longRunning.find((name) => word === name || word.endsWith(`/${name}`))
}
