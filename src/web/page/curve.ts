import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { curveSvg, thinned, valueText } from '../curve-svg.ts'
import { download, downloadFrom } from './download.ts'

interface CurveProps {
  readonly name: string
  readonly points: readonly [round: number, value: number][]
}

const height = 180
/** Values in the table under a curve. */
const rowsMax = 200

/** One curve. Moving over one shows the values of all at that round. */
export function Curve({ name, points }: CurveProps): VNode {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const data = dataOf(points)
  useEffect(() => {
    const element = place.current as HTMLDivElement
    const draw = (): void => {
      plot.current?.destroy()
      plot.current = new uPlot(optionsOf(name, element), dataOf(points), element)
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
  }, [name])
  useEffect(() => plot.current?.setData(data), [points.length, points.at(-1)?.[1]])
  const last = points.at(-1)
  const label = `${name}: ${points.length} rounds${last ? `, ${valueText(last[1])} in round ${last[0]}` : ''}`
  const file = name.replaceAll(/[^\w-]+/g, '-')
  return html`<figure>
    <figcaption>${name} <strong>${last ? valueText(last[1]) : ''}</strong></figcaption>
    <div class="plot" role="img" aria-label=${label} ref=${place}></div>
    <details><summary>Values of ${name}</summary>
      <div class="tools">
        <button type="button" onClick=${() => download(`${file}.svg`, 'image/svg+xml', curveSvg(name, points))}>SVG</button>
        <button type="button" onClick=${() => plot.current && downloadFrom(`${file}.png`, plot.current.ctx.canvas.toDataURL('image/png'))}>PNG</button>
      </div>
      <table><thead><tr><th scope="col">Round</th><th scope="col">${name}</th></tr></thead>
        <tbody>${points.slice(-rowsMax).map(([round, value]) => html`<tr key=${round}><td>${round}</td><td>${valueText(value)}</td></tr>`)}</tbody>
      </table>
    </details>
  </figure>` as VNode
}

function dataOf(points: CurveProps['points']): uPlot.AlignedData {
  const shown = thinned(points, 2000)
  return [shown.map(([round]) => round), shown.map(([, value]) => value)]
}

function optionsOf(name: string, element: HTMLElement): uPlot.Options {
  const { color } = getComputedStyle(element)
  const accent = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim()
  const axis = { stroke: color, grid: { stroke: `color-mix(in srgb, ${color} 15%, transparent)` } }
  return {
    width: element.clientWidth || 400,
    height,
    cursor: { sync: { key: 'rounds' } },
    legend: { live: true },
    scales: { x: { time: false } },
    axes: [axis, { ...axis, size: 60, values: (_plot, ticks) => ticks.map(valueText) }],
    series: [
      { label: 'Round' },
      { label: name, stroke: accent, width: 2, value: (_plot, value) => (value === null ? '–' : valueText(value)) },
    ],
  }
}
