import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { comparedRunsMax } from '../lines.ts'
import type { FleetState, RunView } from '../model.ts'
import { agoText, bytesText, lengthText, signOf } from '../words.ts'

/** The newest runs, and what those that stand still wait for. Several can be chosen to be compared. */
export function RunsView({ runs, moreRuns, now }: Pick<FleetState, 'runs' | 'moreRuns'> & { now: number }): VNode {
  const [chosen, choose] = useState<readonly string[]>([])
  if (runs.length === 0) return noRuns
  const toggle = (id: string): void =>
    choose((before) => (before.includes(id) ? before.filter((one) => one !== id) : [...before, id]))
  return html`<section aria-labelledby="runs-title">
    <h1 id="runs-title">Runs</h1>
    ${runs.length > 1 && html`<${Comparison} chosen=${chosen} />`}
    <ul class="runs">${runs.map(
      (run) => html`<li key=${run.id}>
      ${runs.length > 1 && html`<input type="checkbox" aria-label=${`Compare run ${run.id}`} checked=${chosen.includes(run.id)} disabled=${!chosen.includes(run.id) && chosen.length >= comparedRunsMax} onChange=${() => toggle(run.id)} />`}
      <a href=${`#/runs/${run.id}`}><${RunState} run=${run} /> <strong>${run.app}</strong> <span class="id">${run.id}</span></a>
      <span>${timeText(run, now)}</span>
      <span>${bytesText(run.bytesSent + run.bytesReceived)}</span>
      <${Trouble} run=${run} now=${now} />
    </li>`,
    )}</ul>
    ${moreRuns && html`<p>Older runs are in <code>flwr ls</code>.</p>`}
  </section>` as VNode
}

function Comparison({ chosen }: { chosen: readonly string[] }): VNode {
  return html`<p role="status">${
    chosen.length < 2
      ? `Choose two to ${comparedRunsMax} runs to see their curves together.`
      : html`<a href=${`#/runs/compare/${chosen.join(',')}`}>Compare ${chosen.length} runs</a>`
  }</p>` as VNode
}

export function RunState({ run }: { run: RunView }): VNode {
  const state = run.subStatus || run.status
  return html`<span class=${`state ${isWithoutResult(run) ? 'warn' : state}`}><span aria-hidden="true">${signOf(state)}</span> ${state}</span>` as VNode
}

/** Why it has failed or achieved nothing, or what it waits for and what would help. */
export function Trouble({ run, now }: { run: RunView; now: number }): VNode | null {
  if (run.subStatus === 'failed')
    return html`<p class="bad">${run.details || 'It failed without a reason.'}</p>` as VNode
  if (isWithoutResult(run)) return html`<p class="warn">${run.details}</p>` as VNode
  if (run.waitingFor === '' || run.status === 'finished') return null
  const since = Date.parse(run.waitingSince)
  return html`<p class="warn">Waits for ${run.waitingFor}${Number.isNaN(since) ? '' : `, for ${lengthText(now - since)}`}. ${run.remedy}</p>` as VNode
}

function isWithoutResult({ subStatus, details }: RunView): boolean {
  return subStatus === 'completed' && details !== ''
}

export function timeText(run: RunView, now: number): string {
  if (run.finishedAt) return `ended ${agoText(run.finishedAt, now)}`
  return run.runningAt
    ? `runs for ${lengthText(now - Date.parse(run.runningAt))}`
    : `queued ${agoText(run.pendingAt, now)}`
}

const noRuns = html`<section aria-labelledby="runs-title">
  <h1 id="runs-title">Runs</h1>
  <p>There is no run yet. These make an app and start it:</p>
  <pre tabindex="0">flwr new my-app
flwr run my-app</pre>
</section>` as VNode
