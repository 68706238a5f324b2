/** One line of a chart. */
export interface Line {
  readonly label: string
  readonly points: readonly (readonly [round: number, value: number])[]
  /** Index of its style. */
  readonly style: number
}

/** Lines of one chart differ by colour and by dashes, because some people cannot tell colours apart. */
const styles = [
  { color: '#2563eb', dash: [] },
  { color: '#d9480f', dash: [9, 4] },
  { color: '#2b8a3e', dash: [2, 3] },
  { color: '#ae3ec9', dash: [10, 3, 2, 3] },
  { color: '#0c8599', dash: [5, 2] },
  { color: '#d6336c', dash: [14, 4] },
  { color: '#a16207', dash: [4, 6] },
  { color: '#6b7280', dash: [10, 3, 2, 3, 2, 3] },
] as const satisfies readonly LineStyle[]

export interface LineStyle {
  readonly color: string
  readonly dash: readonly number[]
}

/** So many runs can be compared: there are no more styles. */
export const comparedRunsMax = styles.length

export function lineStyle(index: number): LineStyle {
  return styles[index % styles.length] as LineStyle
}
