import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { PhaseView, RunNodesState } from '../model.ts'
import { type Bar, barsOf, nameOf, secondsText, slowestText } from '../waterfall.ts'

const barHeight = 14
/** Width of the picture in its own units; it is scaled to the page. */
const width = 1000
const nameWidth = 180

/** The nodes of a run: a waterfall of one phase, and a table of what each does. */
export function RunNodes({ state }: { state: RunNodesState }): VNode | null {
  const [chosen, choose] = useState(0)
  const phase = state.phases[Math.min(chosen, state.phases.length - 1)]
  if (!phase && state.nodes.length === 0) return null
  return html`<h2 id="nodes-title">SuperNodes of this run</h2>
    ${
      phase &&
      html`<div class="tools"><label>Replies of <select onChange=${(event: Event) => choose(Number((event.target as HTMLSelectElement).value))}>
        ${state.phases.map(({ label }, index) => html`<option key=${index} value=${index} selected=${index === chosen}>${label}</option>`)}
      </select></label></div><${Waterfall} phase=${phase} />`
    }
    <${NodeTable} nodes=${state.nodes} />` as VNode
}

function Waterfall({ phase }: { phase: PhaseView }): VNode {
  const bars = barsOf(phase)
  const slowest = slowestText(phase)
  const label = `${phase.label}: ${bars.length === 1 ? 'one reply' : `${bars.length} replies`} within ${secondsText(phase.endedAt - phase.startedAt)}`
  return html`<figure class="waterfall">
    <figcaption>${label}${slowest && `; slowest: ${slowest}`}</figcaption>
    <svg viewBox="0 0 ${width} ${bars.length * barHeight}" role="img" aria-label=${label}>
      ${bars.map((bar, index) => html`<${BarRow} key=${index} bar=${bar} y=${index * barHeight} />`)}
    </svg>
    <p class="legend"><span class="wait-key"></span> until fetched <span class="work-key"></span> until replied <span class="failed-key"></span> ended with an error${phase.more > 0 ? ` · ${phase.more} quicker ones are left out` : ''}</p>
  </figure>` as VNode
}

function BarRow({ bar, y }: { bar: Bar; y: number }): VNode {
  const room = width - nameWidth - 10
  const at = (fraction: number): number => nameWidth + fraction * room
  return html`<g><title>${bar.name}: ${bar.text}</title>
    <text x=${nameWidth - 8} y=${y + barHeight - 4} text-anchor="end">${bar.name.slice(0, 26)}</text>
    <rect class="wait" x=${at(bar.start)} y=${y + 4} width=${bar.wait * room} height=${barHeight - 8} />
    <rect class=${bar.failed ? 'failed' : 'work'} x=${at(bar.start + bar.wait)} y=${y + 2} width=${Math.max(1, bar.work * room)} height=${barHeight - 4} />
  </g>` as VNode
}

function NodeTable({ nodes }: { nodes: RunNodesState['nodes'] }): VNode {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of the run's SuperNodes"><table>
    <thead><tr>${['SuperNode', 'Replies', 'Errors', 'Last took', 'Mean', 'Now'].map((title) => html`<th scope="col" key=${title}>${title}</th>`)}</tr></thead>
    <tbody>${nodes.map(
      (node) => html`<tr key=${node.id}><td>${nameOf(node)}</td><td>${node.replies}</td><td>${node.failures}</td>
        <td>${node.replies > 0 ? secondsText(node.lastSeconds * 1000) : ''}</td><td>${node.replies > 0 ? secondsText(node.meanSeconds * 1000) : ''}</td>
        <td>${node.state || 'has replied'}</td></tr>`,
    )}</tbody>
  </table></div>` as VNode
}
