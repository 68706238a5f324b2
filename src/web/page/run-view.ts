import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { csv } from '../csv.ts'
import type { RunView } from '../model.ts'
import { runFacts } from '../run-facts.ts'
import { curvesOf, type RunSeries, timeLeftMs, valuesByRound } from '../run-series.ts'
import { lengthText } from '../words.ts'
import { Curve } from './curve.ts'
import { download } from './download.ts'
import { RoundSlider } from './round-slider.ts'
import { RunButtons } from './run-buttons.ts'
import { RunLog } from './run-log.ts'
import { RunNodes } from './run-nodes.ts'
import { RunState, Trouble, timeText } from './runs-view.ts'
import { useRun } from './streams.ts'

interface OneRunProps {
  readonly id: string
  readonly run: RunView | undefined
  readonly now: number
  /** Without buttons and log: a wall screen. */
  readonly readOnly: boolean
}

/** One run: its curves, then where it is, what it has used, and how it was configured. */
export function OneRunView({ id, run, now, readOnly }: OneRunProps): VNode {
  const { series, nodes, problem } = useRun(id)
  const curves = curvesOf(series)
  return html`<section aria-labelledby="run-title">
    <h1 id="run-title">${run?.app ?? 'Run'} <span class="id">${id}</span></h1>
    ${run && html`<p><${RunState} run=${run} /> · ${timeText(run, now)}${leftText(series, run)}</p><${Trouble} run=${run} now=${now} />`}
    ${problem && html`<p class="bad" role="alert">${problem}</p>`}
    ${run?.status !== 'finished' && html`<${Phase} series=${series} />`}
    <div class="curves">${curves.map(({ name, points }) => html`<${Curve} key=${name} name=${name} lines=${[{ label: name, points, style: 0 }]} />`)}</div>
    ${curves.length === 0 && html`<p>No metric yet. Apps of the TypeScript SDK report theirs after each round; of other apps the replies are shown.</p>`}
    <${RoundSlider} curves=${curves} />
    <div class="tools">
      <button type="button" onClick=${() => download(`run-${id}.csv`, 'text/csv', curvesCsv(curves))}>CSV</button>
      <button type="button" onClick=${() => download(`run-${id}.json`, 'application/json', JSON.stringify({ run, curves }, null, 2))}>JSON</button>
      ${run && !readOnly && html`<${RunButtons} key=${run.id} run=${run} />`}
    </div>
    ${nodes && html`<${RunNodes} state=${nodes} />`}
    ${run && html`<${Facts} run=${run} curves=${curves} />`}
    ${!readOnly && html`<${RunLog} key=${id} id=${id} />`}
  </section>` as VNode
}

function Phase({ series }: { series: RunSeries }): VNode | null {
  const { round, rounds, phase, asked, replied, failed, late } = series
  if (round === 0 && asked === 0) return null
  const where = round > 0 ? `Round ${round} of ${rounds}, ${phase === 'round-end' ? 'done' : phase}` : 'Replies'
  const errors = failed > 0 ? `, ${failed} with an error` : ''
  const missing = late.length > 0 ? `; late: ${late.join(', ')}` : ''
  return html`<p class="phase"><label>${where}: ${replied} of ${asked} SuperNodes replied${errors}${missing}
    <progress max=${Math.max(1, asked)} value=${replied}></progress></label></p>` as VNode
}

function Facts({ run, curves }: { run: RunView; curves: ReturnType<typeof curvesOf> }): VNode {
  return html`<h2>Facts</h2><dl>${runFacts(run, curves).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>` as VNode
}

function leftText(series: RunSeries, run: RunView): string {
  const left = run.status === 'finished' ? undefined : timeLeftMs(series)
  return left === undefined ? '' : ` · about ${lengthText(left)} left`
}

function curvesCsv(curves: ReturnType<typeof curvesOf>): string {
  const rows = valuesByRound(curves).map(({ round, values }) => [round, ...values.map((value) => value ?? '')])
  return csv([['round', ...curves.map(({ name }) => name)], ...rows])
}
