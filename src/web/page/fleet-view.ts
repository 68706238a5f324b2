import { html } from 'htm/preact'
import { Component, type VNode } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { csv } from '../csv.ts'
import type { NodeView } from '../model.ts'
import { secondsText } from '../waterfall.ts'
import { agoText, certificateText, signOf } from '../words.ts'
import { download } from './download.ts'

/** More rows are drawn when asked for. */
const rowsAtFirst = 200

const columns = [
  ['status', 'State'],
  ['name', 'Name'],
  ['organization', 'Organisation'],
  ['auth', 'Authentication'],
  ['since', 'Since'],
  ['lastContact', 'Last contact'],
  ['lastReplySeconds', 'Last reply'],
  ['release', 'Release'],
  ['id', 'Node ID'],
] as const
type Column = (typeof columns)[number][0]

/** All SuperNodes, to sort and to filter. */
export function FleetView({ nodes, now }: { nodes: readonly NodeView[]; now: number }): VNode {
  const [filter, setFilter] = useState('')
  const [status, setStatus] = useState('')
  const [order, setOrder] = useState<{ by: Column; down: boolean }>({ by: 'status', down: false })
  const [all, setAll] = useState(false)
  const found = useMemo(() => {
    const words = filter.toLowerCase().split(/\s+/)
    const matches = (node: NodeView): boolean =>
      (status === '' ? node.status !== 'unregistered' : stateOf(node) === status) &&
      words.every((word) => textOf(node).includes(word))
    const sign = order.down ? -1 : 1
    const key = (node: NodeView): string | number =>
      order.by === 'name' ? nameOf(node) : order.by === 'status' ? ranked(node) : node[order.by]
    return nodes.filter(matches).sort((a, b) => sign * (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0))
  }, [nodes, filter, status, order])
  if (nodes.length === 0) return noNodes
  const shown = all ? found : found.slice(0, rowsAtFirst)
  return html`<section aria-labelledby="fleet-title">
    <h1 id="fleet-title">Fleet</h1>
    <div class="tools">
      <label>Filter <input type="search" value=${filter} onInput=${(event: InputEvent) => setFilter((event.target as HTMLInputElement).value)} /></label>
      <label>State <select value=${status} onChange=${(event: Event) => setStatus((event.target as HTMLSelectElement).value)}>
        <option value="">all</option>
        ${['online', 'offline', 'registered', 'draining', 'blocked', 'unregistered'].map((one) => html`<option value=${one}>${one}</option>`)}
      </select></label>
      <span role="status">${found.length} of ${nodes.length} SuperNodes</span>
      <span class="space"></span>
      <button type="button" onClick=${() => download('fleet.csv', 'text/csv', nodesCsv(found))}>CSV</button>
      <button type="button" onClick=${() => download('fleet.json', 'application/json', JSON.stringify(found, null, 2))}>JSON</button>
    </div>
    <div class="wide" tabindex="0" role="region" aria-label="Table of SuperNodes"><table>
      <thead><tr>${columns.map(([by, title]) => {
        const sorted = order.by === by
        return html`<th scope="col" aria-sort=${sorted ? (order.down ? 'descending' : 'ascending') : 'none'}>
          <button type="button" class="plain" onClick=${() => setOrder({ by, down: sorted && !order.down })}>${title}<span aria-hidden="true">${sorted ? (order.down ? ' ▾' : ' ▴') : ''}</span></button>
        </th>`
      })}</tr></thead>
      <tbody>${shown.map((node) => html`<${NodeRow} key=${node.id} node=${node} minute=${Math.floor(now / 10_000)} />`)}</tbody>
    </table></div>
    ${shown.length < found.length && html`<p><button type="button" onClick=${() => setAll(true)}>Show all ${found.length}</button></p>`}
  </section>` as VNode
}

/** Drawn again only when its node has changed, or the time that it shows. */
class NodeRow extends Component<{ node: NodeView; minute: number }> {
  override shouldComponentUpdate(next: { node: NodeView; minute: number }): boolean {
    return next.node !== this.props.node || next.minute !== this.props.minute
  }

  override render({ node, minute }: { node: NodeView; minute: number }): VNode {
    const now = minute * 10_000
    const certificate = certificateText(node, now)
    return html`<tr>
      <td><span class=${`state ${stateOf(node)}`}><span aria-hidden="true">${signOf(stateOf(node))}</span> ${stateText(node)}</span></td>
      <td>${nameOf(node)}</td>
      <td>${node.organization}</td>
      <td class=${certificate.level}>${certificate.text}</td>
      <td title=${node.since}>${agoText(node.since, now)}</td>
      <td title=${node.lastContact}>${agoText(node.lastContact, now)}</td>
      <td>${node.lastReplySeconds > 0 ? `took ${secondsText(node.lastReplySeconds * 1000)}` : ''}</td>
      <td>${node.release}</td>
      <td class="id">${node.id}</td>
    </tr>` as VNode
  }
}

const noNodes = html`<section aria-labelledby="fleet-title">
  <h1 id="fleet-title">Fleet</h1>
  <p>There is no SuperNode yet. This adds one:</p>
  <pre tabindex="0">flower-supernode --superlink ADDRESS:9092 --root-certificates ca.crt --ssl-certfile node.crt --ssl-keyfile node.key</pre>
</section>` as VNode

function nameOf({ name, identity }: NodeView): string {
  return name || identity
}

/** What operators decided counts more than whether it is there. */
export function stateOf({ status, admission }: NodeView): string {
  return admission === 'open' || status === 'unregistered' ? status : admission
}

function stateText(node: NodeView): string {
  return node.admission === 'open' || node.status === 'unregistered' ? node.status : `${node.status}, ${node.admission}`
}

/** What needs attention comes first. */
function ranked(node: NodeView): string {
  const rank = node.renewalFails
    ? 0
    : ['offline', 'blocked', 'draining', 'online', 'registered'].indexOf(stateOf(node)) + 1
  return `${rank}${nameOf(node)}`
}

function textOf(node: NodeView): string {
  return `${node.name} ${node.identity} ${node.organization} ${node.auth} ${node.id} ${node.release} ${stateText(node)}`.toLowerCase()
}

function nodesCsv(nodes: readonly NodeView[]): string {
  const header = [
    'id',
    'name',
    'identity',
    'organization',
    'status',
    'admission',
    'auth',
    'since',
    'lastContact',
    'lastReplySeconds',
    'release',
    'certificateEnds',
  ] as const
  return csv([header, ...nodes.map((node) => header.map((key) => node[key]))])
}
