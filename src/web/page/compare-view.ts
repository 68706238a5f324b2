import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { csv } from '../csv.ts'
import { type Line, lineStyle } from '../lines.ts'
import type { RunView } from '../model.ts'
import { comparedName, differingConfig, overlaidCurves } from '../overlay.ts'
import { valuesByRound } from '../run-series.ts'
import { Curve } from './curve.ts'
import { download } from './download.ts'
import { RoundSlider } from './round-slider.ts'
import { RunState } from './runs-view.ts'
import { useRuns } from './streams.ts'

/** Several runs in the same charts, one for each metric. */
export function CompareView({ ids, runs }: { ids: readonly string[]; runs: readonly RunView[] }): VNode {
  const { series, problem } = useRuns(ids)
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set())
  const names = ids.map((id) => comparedName(id, runOf(id, runs)))
  const curves = overlaidCurves(ids.map((id, index) => ({ id, series: series[index] as (typeof series)[number] })))
  const shown = curves.flatMap(({ name, lines }) => {
    const visible = lines.filter(({ run }) => !hidden.has(ids[run] as string))
    const drawn: Line[] = visible.map(({ run, points }) => ({ label: names[run] as string, points, style: run }))
    return drawn.length > 0 ? [{ name, lines: drawn }] : []
  })
  const columns = shown.flatMap(({ name, lines }) =>
    lines.map(({ label, points }) => ({ name: `${name} of ${label}`, points: points as [number, number][] })),
  )
  const toggle = (id: string): void =>
    setHidden((before) => new Set(before.has(id) ? [...before].filter((one) => one !== id) : [...before, id]))
  return html`<section aria-labelledby="compare-title">
    <h1 id="compare-title">${ids.length} runs compared</h1>
    ${problem && html`<p class="bad" role="alert">${problem}</p>`}
    <ul class="legend-list" aria-label="Runs in the charts">${ids.map((id, index) => {
      const run = runOf(id, runs)
      return html`<li key=${id}>
        <button type="button" aria-pressed=${!hidden.has(id)} onClick=${() => toggle(id)}><${Sample} style=${index} /> ${names[index]}</button>
        ${run && html`<${RunState} run=${run} />`} <a href=${`#/runs/${id}`}>details of ${names[index]}</a></li>`
    })}</ul>
    <${Differences} names=${names} differing=${differingConfig(ids.map((id) => runOf(id, runs)))} />
    <div class="curves">${shown.map(({ name, lines }) => html`<${Curve} key=${name} name=${name} lines=${lines} />`)}</div>
    ${curves.length === 0 && html`<p>None of these runs has reported a metric yet.</p>`}
    <${RoundSlider} curves=${columns} />
    <div class="tools">
      <button type="button" onClick=${() => download('runs.csv', 'text/csv', csv(rowsOf(columns)))}>CSV</button>
      <button type="button" onClick=${() => download('runs.json', 'application/json', jsonOf(ids, runs, curves))}>JSON</button>
    </div>
  </section>` as VNode
}

interface DifferencesProps {
  readonly names: readonly string[]
  readonly differing: ReturnType<typeof differingConfig>
}

/** Why the curves may differ. */
function Differences({ names, differing }: DifferencesProps): VNode | null {
  if (differing.length === 0) return null
  return html`<div class="wide" tabindex="0" role="region" aria-label="Table of the configuration in which the runs differ"><table>
    <thead><tr><th scope="col">Run</th>${differing.map(({ key }) => html`<th scope="col" key=${key}>${key}</th>`)}</tr></thead>
    <tbody>${names.map(
      (name, run) =>
        html`<tr key=${name}><th scope="row">${name}</th>${differing.map(({ key, values }) => html`<td key=${key}>${values[run]}</td>`)}</tr>`,
    )}</tbody></table></div>` as VNode
}

function Sample({ style }: { style: number }): VNode {
  const { color, dash } = lineStyle(style)
  return html`<svg viewBox="0 0 40 8" width="40" height="8" aria-hidden="true"><path d="M0 4H40" stroke=${color} stroke-width="3" stroke-dasharray=${dash.join(' ')} /></svg>` as VNode
}

function runOf(id: string, runs: readonly RunView[]): RunView | undefined {
  return runs.find((one) => one.id === id)
}

function rowsOf(columns: Parameters<typeof valuesByRound>[0]): (string | number)[][] {
  const rows = valuesByRound(columns).map(({ round, values }) => [round, ...values.map((value) => value ?? '')])
  return [['round', ...columns.map(({ name }) => name)], ...rows]
}

function jsonOf(ids: readonly string[], runs: readonly RunView[], curves: ReturnType<typeof overlaidCurves>): string {
  const named = curves.map(({ name, lines }) => ({
    name,
    lines: lines.map(({ run, points }) => ({ run: ids[run], points })),
  }))
  return JSON.stringify({ runs: ids.map((id) => runOf(id, runs) ?? { id }), curves: named }, null, 2)
}
