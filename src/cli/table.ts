import { stripVTControlCharacters } from 'node:util'
import { oneLine } from '../base/printable.ts'
import { paint } from './output.ts'

export interface Column {
  readonly title: string
  /** If the terminal is too narrow, the columns with the highest number are left out first; 0, the default, always stays. */
  readonly rank?: number
  /** 64-bit ids, which are shortened if the terminal is too narrow: commands accept their first digits. */
  readonly isId?: boolean
  /** Free text, which is cut at the end if the terminal is too narrow. */
  readonly isFreeText?: boolean
  /** Sentences in the last column, which continue on further lines if the terminal is too narrow. */
  readonly wraps?: boolean
  /** The style of a cell, by its text or by the index of its row. */
  readonly styleOf?: (cell: string, row: number) => Style | undefined
}

type Style = Parameters<typeof paint>[0]

/** Digits of a shortened id, unless more are needed to tell the ids of one table apart. */
const idDigits = 8
const gap = '   '
const freeTextMin = 24

/** Returns how wide a table may be: as the terminal, or without a bound if the output is a file or `--wide` was given. */
export function tableWidth(wide: boolean | undefined = false, stream: NodeJS.WriteStream = process.stdout): number {
  return stream.isTTY && !wide ? stream.columns || 80 : Number.POSITIVE_INFINITY
}

/**
 * Returns rows of text in aligned columns under a header. If they do not fit the width, ids are shortened, then free text is cut,
 * then columns are left out, and a last line says how many (`hint`). Other cells are never cut.
 */
export function table(
  header: readonly (string | Column)[],
  cells: readonly (readonly string[])[],
  width = tableWidth(),
  { hint = true }: { hint?: boolean } = {},
): string {
  const all = header.map((column, index) => {
    const { title, styleOf, ...rest } = typeof column === 'string' ? ({ title: column } as Column) : column
    const texts = cells.map((row) => oneLine(row[index] ?? ''))
    return { title, ...rest, texts, styles: texts.map((text, row) => styleOf?.(text, row)) }
  })
  const shown = fit(wrapLast(all, width), width)
  const lines = (shown[0]?.texts ?? []).map((_, row) =>
    shown
      .map((column) => painted(column, row))
      .join(gap)
      .trimEnd(),
  )
  const titles = shown.map((column) => column.title.padEnd(widthOf(column))).join(gap)
  const hidden = all.length - shown.length
  return [
    paint('bold', titles.trimEnd()),
    paint('dim', '─'.repeat(totalWidth(shown))),
    ...lines,
    ...(hidden > 0 && hint
      ? [paint('dim', `${hidden === 1 ? 'One column is' : `${hidden} columns are`} hidden: --wide shows all.`)]
      : []),
  ].join('\n')
}

interface Filled extends Omit<Column, 'styleOf'> {
  readonly texts: readonly string[]
  readonly styles: readonly (Style | undefined)[]
}

function fit(columns: readonly Filled[], width: number): readonly Filled[] {
  if (totalWidth(columns) <= width) return columns
  let shown = columns.map((column) => (column.isId ? { ...column, texts: shortIds(column.texts) } : column))
  while (totalWidth(shown) > width) {
    const cut = cutFreeText(shown, width)
    if (totalWidth(cut) <= width) return cut
    const last = Math.max(...shown.map(({ rank = 0 }) => rank))
    if (last === 0) return cut
    const index = shown.findLastIndex(({ rank = 0 }) => rank === last)
    shown = shown.filter((_, other) => other !== index)
  }
  return shown
}

/** Returns the columns with further rows for the sentences of the last one that do not fit. */
function wrapLast(columns: readonly Filled[], width: number): readonly Filled[] {
  const last = columns.at(-1)
  if (!last?.wraps || totalWidth(columns) <= width) return columns
  const others = columns.slice(0, -1)
  const room = Math.max(freeTextMin, width - totalWidth(others) - gap.length)
  const parts = last.texts.map((text) => wrap(text, room))
  const spread = <T>(cells: readonly T[], further: T): T[] =>
    cells.flatMap((cell, row) => parts[row]?.map((_, line) => (line === 0 ? cell : further)) ?? [])
  const withRows = (column: Filled, texts: readonly string[]): Filled => ({
    ...column,
    texts,
    styles: spread(column.styles, undefined),
  })
  return [...others.map((column) => withRows(column, spread(column.texts, ''))), withRows(last, parts.flat())]
}

/** Returns lines of at most `room` characters; a longer word, such as a path, has a line of its own. */
function wrap(text: string, room: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && textWidth(longer) > room) {
      lines.push(line)
      line = word
    } else line = longer
  }
  return [...lines, line]
}

/** Returns the columns with free text cut so that they fit, but never below a readable width. */
function cutFreeText(columns: readonly Filled[], width: number): Filled[] {
  return columns.map((column) => {
    if (!column.isFreeText) return column
    const room = Math.max(freeTextMin, widthOf(column) - (totalWidth(columns) - width))
    return { ...column, texts: column.texts.map((text) => cut(text, room)) }
  })
}

function cut(text: string, room: number): string {
  const signs = [...text]
  return signs.length > room ? `${signs.slice(0, room - 1).join('')}…` : text
}

function shortIds(ids: readonly string[]): string[] {
  const different = new Set(ids).size
  let digits = idDigits
  while (new Set(ids.map((id) => id.slice(0, digits))).size < different) digits += 1
  return ids.map((id) => id.slice(0, digits))
}

function painted(column: Filled, row: number): string {
  const text = column.texts[row] as string
  const style = column.styles[row]
  const spaces = ' '.repeat(widthOf(column) - textWidth(text))
  return (style ? paint(style, text) : text) + spaces
}

function totalWidth(columns: readonly Filled[]): number {
  return columns.reduce((sum, column) => sum + widthOf(column), 0) + gap.length * Math.max(0, columns.length - 1)
}

function widthOf({ title, texts }: Filled): number {
  return texts.reduce((widest, text) => Math.max(widest, textWidth(text)), textWidth(title))
}

/** Names and values, one pair a line. */
export function details(pairs: readonly (readonly [string, string])[]): string {
  const size = Math.max(...pairs.map(([name]) => name.length))
  return pairs.map(([name, value]) => `${paint('bold', name.padEnd(size))}   ${oneLine(value)}`).join('\n')
}

function textWidth(text: string): number {
  return [...stripVTControlCharacters(text)].length
}
