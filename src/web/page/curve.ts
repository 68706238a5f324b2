import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { curveSvg, labelOf, thinned, valueText } from '../curve-svg.ts'
import { type Line, lineStyle } from '../lines.ts'
import { valuesByRound } from '../run-series.ts'
import { download, downloadPng } from './download.ts'

interface CurveProps {
  readonly name: string
  /** At least one. */
  readonly lines: readonly Line[]
}

const height = 180
/** Values in the table under a curve. */
const rowsMax = 200
/** All charts show the values of the same round. */
const cursorKey = 'rounds'

/** A chart of one metric. Moving over one shows the values of all at that round. */
export function Curve({ name, lines }: CurveProps): VNode {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const current = useRef(lines)
  current.current = lines
  const labels = lines.map(({ label, style }) => `${style} ${label}`).join('\n')
  const ends = lines.map(({ points }) => `${points.length} ${points.at(-1)?.[1]}`).join()
  useEffect(() => {
    const element = place.current as HTMLDivElement
    const draw = (): void => {
      plot.current?.destroy()
      plot.current = new uPlot(optionsOf(current.current, element), dataOf(current.current), element)
    }
    draw()
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }))
    resized.observe(element)
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', draw)
    return () => {
      resized.disconnect()
      dark.removeEventListener('change', draw)
      plot.current?.destroy()
      plot.current = undefined
    }
  }, [labels])
  useEffect(() => plot.current?.setData(dataOf(lines)), [labels, ends])
  const [only, ...others] = lines
  const last = others.length === 0 ? only?.points.at(-1) : undefined
  const label = labelOf(name, lines, (value, round) => `${valueText(value)} in round ${round}`)
  const file = name.replaceAll(/[^\w-]+/g, '-')
  return html`<figure>
    <figcaption>${name} <strong>${last ? valueText(last[1]) : ''}</strong></figcaption>
    <div class="plot" role="img" aria-label=${label} ref=${place}></div>
    <details><summary>Values of ${name}</summary>
      <div class="tools">
        <button type="button" onClick=${() => download(`${file}.svg`, 'image/svg+xml', curveSvg(name, lines))}>SVG</button>
        <button type="button" onClick=${() => downloadPng(`${file}.png`, curveSvg(name, lines))}>PNG</button>
      </div>
      <${ValueTable} name=${name} lines=${lines} />
    </details>
  </figure>` as VNode
}

function ValueTable({ name, lines }: CurveProps): VNode {
  const ends = lines.map(({ label, points }) => ({ name: label, points: points.slice(-rowsMax) as [number, number][] }))
  const titles = lines.length === 1 ? [name] : lines.map(({ label }) => label)
  const text = (value: number | undefined): string => (value === undefined ? '' : valueText(value))
  return html`<div class="wide" tabindex="0" role="region" aria-label=${`Table of ${name}`}><table>
    <thead><tr>${['Round', ...titles].map((title) => html`<th scope="col" key=${title}>${title}</th>`)}</tr></thead>
    <tbody>${valuesByRound(ends).map(({ round, values }) => html`<tr key=${round}><td>${round}</td>${values.map((value, index) => html`<td key=${index}>${text(value)}</td>`)}</tr>`)}</tbody>
  </table></div>` as VNode
}

/** Shows the values of a round in all charts of the view. */
export function showRound(round: number): void {
  for (const plot of uPlot.sync(cursorKey).plots)
    plot.setCursor({ left: plot.valToPos(round, 'x'), top: plot.over.clientHeight / 2 })
}

function dataOf(lines: readonly Line[]): uPlot.AlignedData {
  const shown = lines.map(({ points }) => thinned(points, lines.length > 1 ? 600 : 2000))
  const tables = shown.map(
    (points): uPlot.AlignedData => [points.map(([round]) => round), points.map(([, value]) => value)],
  )
  return tables.length === 1 ? (tables[0] as uPlot.AlignedData) : uPlot.join(tables)
}

function optionsOf(lines: readonly Line[], element: HTMLElement): uPlot.Options {
  const { color } = getComputedStyle(element)
  const accent = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim()
  const axis = { stroke: color, grid: { stroke: `color-mix(in srgb, ${color} 15%, transparent)` } }
  return {
    width: element.clientWidth || 400,
    height,
    cursor: { sync: { key: cursorKey } },
    legend: { live: true },
    scales: { x: { time: false } },
    axes: [axis, { ...axis, size: 60, values: (_plot, ticks) => ticks.map(valueText) }],
    series: [
      { label: 'Round' },
      ...lines.map(({ label, style }) => ({
        label,
        stroke: lines.length === 1 ? accent : lineStyle(style).color,
        dash: [...lineStyle(style).dash],
        width: 2,
        // Rounds that one run reports and another does not leave no gap.
        spanGaps: lines.length > 1,
        value: (_plot: uPlot, value: number | null) => (typeof value === 'number' ? valueText(value) : '–'),
      })),
    ],
  }
}
