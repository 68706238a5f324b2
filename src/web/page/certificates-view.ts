import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { type Deadline, levelOf, listDeadlines, placeOf } from '../deadlines.ts'
import type { FleetState, SecurityState } from '../model.ts'
import { agoText, lengthText } from '../words.ts'

const rowsAtFirst = 20
const marks = [
  ['1 d', 86_400_000],
  ['7 d', 7 * 86_400_000],
  ['30 d', 30 * 86_400_000],
  ['1 y', 365 * 86_400_000],
] as const

/** What expires, and which peers were refused. */
export function CertificatesView({ fleet, now }: { fleet: FleetState; now: number }): VNode {
  const [all, setAll] = useState(false)
  const deadlines = listDeadlines(fleet.security, fleet.nodes)
  const shown = all ? deadlines : deadlines.slice(0, rowsAtFirst)
  return html`<section aria-labelledby="certificates-title">
    <h1 id="certificates-title">Certificates</h1>
    ${deadlines.length === 0 && html`<p>No certificate is in use here. The guide to mutual TLS shows how to replace registered keys by certificates.</p>`}
    ${
      deadlines.length > 0 &&
      html`<div class="wide" tabindex="0" role="region" aria-label="Table of certificates"><table>
      <thead><tr><th scope="col">Whose</th><th scope="col">Name</th><th scope="col">Time left</th><th scope="col" class="line"><${Scale} /></th></tr></thead>
      <tbody>${shown.map((one) => html`<${Row} key=${one.what + one.name} deadline=${one} now=${now} />`)}</tbody>
    </table></div>`
    }
    ${shown.length < deadlines.length && html`<p><button type="button" onClick=${() => setAll(true)}>Show all ${deadlines.length}</button></p>`}
    <${KeyNodes} nodes=${fleet.nodes} />
    <h2>Refused within the last 24 hours</h2>
    <${RefusalTable} security=${fleet.security} now=${now} />
  </section>` as VNode
}

function Row({ deadline, now }: { deadline: Deadline; now: number }): VNode {
  const left = deadline.at - now
  const text = left > 0 ? lengthText(left) : 'has ended'
  return html`<tr>
    <td>${deadline.what}</td><td>${deadline.name}</td>
    <td class=${levelOf(deadline, now)}>${text}${deadline.trouble && `, ${deadline.trouble}`}</td>
    <td class="line"><svg viewBox="0 0 300 14" width="300" height="14" aria-hidden="true" class=${levelOf(deadline, now)}>
      <line x1="0" y1="7" x2=${placeOf(left) * 290} y2="7" stroke="currentColor" /><circle cx=${placeOf(left) * 290 + 4} cy="7" r="4" fill="currentColor" /></svg></td>
  </tr>` as VNode
}

/** SuperNodes without a certificate. The guide says how they move to one and keep their ids. */
function KeyNodes({ nodes }: { nodes: FleetState['nodes'] }): VNode | null {
  const [all, setAll] = useState(false)
  const found = nodes.filter(({ auth, status }) => auth === 'key' && status !== 'unregistered')
  if (found.length === 0) return null
  const shown = all ? found : found.slice(0, rowsAtFirst)
  return html`<h2 id="keys-title">SuperNodes that still use a registered key: ${found.length}</h2>
    <p>Issue a certificate for each and start it with both: it keeps its ID. See the guide “From keys to certificates”.</p>
    <ul aria-labelledby="keys-title">${shown.map((node) => html`<li key=${node.id}>${[node.name, node.id].filter((text) => text !== '').join(', ')} <span class=${`state ${node.status}`}>${node.status}</span></li>`)}</ul>
    ${shown.length < found.length && html`<p><button type="button" onClick=${() => setAll(true)}>Show all ${found.length} SuperNodes</button></p>`}` as VNode
}

function Scale(): VNode {
  return html`<svg viewBox="0 0 300 16" width="300" height="16" role="img" aria-label="Line from an hour to a year">
    ${marks.map(([text, ms]) => html`<text x=${Math.min(280, placeOf(ms) * 290)} y="12" font-size="11" fill="currentColor" text-anchor="middle">${text}</text>`)}</svg>` as VNode
}

function RefusalTable({ security, now }: { security: SecurityState | undefined; now: number }): VNode {
  if (!security) return html`<p>This SuperLink does not tell.</p>` as VNode
  if (security.refusals.length === 0) return html`<p>None.</p>` as VNode
  return html`<div class="wide" tabindex="0" role="region" aria-label="Table of refusals"><table>
    <thead><tr><th scope="col">Count</th><th scope="col">Reason</th><th scope="col">Last</th><th scope="col">What it means, and what helps</th></tr></thead>
    <tbody>${security.refusals.map(
      ({ reason, count, lastAt, peer, sentence }) => html`<tr key=${reason}>
      <td>${count}</td><td>${reason}</td><td>${agoText(lastAt, now)}${peer && `, ${peer}`}</td><td class="prose">${sentence}</td>
    </tr>`,
    )}</tbody></table></div>` as VNode
}
