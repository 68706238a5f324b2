import { type Maker, type Release, withoutReleases } from '../harness/python-flower.ts'

/** The language of an app; a Python app is run by the environment of one release wherever our programs start it. */
export type Language = 'python' | 'typescript'

/** A fleet in which some trainings run: one for each maker of `flwr`. */
export interface Column {
  readonly superlink: Maker
  readonly supernodes: Maker
  readonly language: Language
  /** Whose Python runs Python apps on our programs. On purpose not always the release of the other programs. */
  readonly python: Release
  readonly clis: readonly Maker[]
}

/** Whether this is the first column in which a `flwr` meets runs of this language at this SuperLink. */
export function isFirstOf(column: Column, cli: Maker): boolean {
  const first = columns.find(
    ({ superlink, language, clis }) =>
      superlink === column.superlink && language === column.language && clis.includes(cli),
  )
  return first === column
}

/**
 * Every combination of SuperLink, SuperNode, `flwr` and language that upstream allows, and each with one of our programs
 * between two generations. Python's `flwr` leaves `.ts` files out of a bundle, so TypeScript apps are started with ours;
 * the others look at those runs and stop them. Two cells are shown elsewhere, both with every program ours: a Python app in
 * `languages.test.ts`, a TypeScript app in `test/flows/training.test.ts`.
 */
export const columns: readonly Column[] = (['python', 'typescript'] as const).flatMap((language) => [
  column('1.29', '1.29', language, '1.29'),
  column('1.29', 'trellis', language, '1.29'),
  column('1.41', '1.41', language, '1.41'),
  column('1.41', 'trellis', language, '1.41'),
  column('trellis', '1.29', language, '1.41'),
  column('trellis', '1.41', language, '1.29'),
  ...(language === 'python'
    ? [
        { ...column('trellis', 'trellis', language, '1.29'), clis: ['1.29' as const] },
        { ...column('trellis', 'trellis', language, '1.41'), clis: ['1.41' as const] },
        { ...column('trellis', '1.36', language, '1.41'), clis: ['1.36' as const] },
        { ...column('trellis', '1.42', language, '1.42'), clis: ['1.42' as const] },
        { ...column('1.42', 'trellis', language, '1.42'), clis: ['trellis' as const] },
        { ...column('trellis', '1.43', language, '1.43'), clis: ['1.43' as const] },
        { ...column('1.43', 'trellis', language, '1.41'), clis: ['trellis' as const] },
        { ...column('trellis', 'trellis', language, '1.43'), clis: ['trellis' as const] },
      ]
    : []),
])

/** Why the trainings of a column are skipped; `false` if its releases are installed. */
export function skipReason({ superlink, supernodes, python, clis }: Column): string | false {
  return withoutReleases('1.29', '1.41', superlink, supernodes, python, ...clis)
}

function column(superlink: Maker, supernodes: Maker, language: Language, python: Release): Column {
  const clis: readonly Maker[] = superlink === 'trellis' ? ['1.29', '1.41', 'trellis'] : [superlink, 'trellis']
  return { superlink, supernodes, language, python, clis }
}

export interface Cell extends Column {
  readonly cli: Maker
  readonly outcome: string
  /** Seconds that the strategy took for two rounds; absent when this CLI cannot start the app. */
  readonly seconds: number | undefined
}

/** The matrix as a table for people: time of the training, and its ratio to the all-Python fleet of the same generation. */
export function matrixTable(cells: readonly Cell[]): string {
  const rows = cells.map((cell) => [
    cell.superlink,
    cell.supernodes,
    cell.cli,
    cell.language === 'python' ? `Python (${cell.python})` : 'TypeScript',
    cell.outcome,
    cell.seconds === undefined ? '' : `${cell.seconds.toFixed(2)} s`,
    compared(cell, cells),
  ])
  const head = ['SuperLink', 'SuperNodes', 'flwr', 'app', 'result', '2 rounds', 'all Python took']
  const widths = head.map((title, index) => Math.max(title.length, ...rows.map((row) => (row[index] ?? '').length)))
  return [head, widths.map((width) => '-'.repeat(width)), ...rows]
    .map((row) =>
      row
        .map((text, index) => text.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** How many times longer the fleet of one release takes: that of the nodes, else of the CLI, else the older one. */
function compared(cell: Cell, cells: readonly Cell[]): string {
  const release = [cell.superlink, cell.supernodes, cell.cli, '1.29'].find(
    (maker) => maker === '1.29' || maker === '1.41',
  )
  const reference = cells.find(
    (one) => one.language === 'python' && [one.superlink, one.supernodes, one.cli].every((maker) => maker === release),
  )
  if (!reference?.seconds || !cell.seconds || reference === cell) return ''
  return `${(reference.seconds / cell.seconds).toFixed(1)} times (${release})`
}
