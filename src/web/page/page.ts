import { html } from 'htm/preact'
import { render, type VNode } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { listDeadlines } from '../deadlines.ts'
import { comparedRunsMax } from '../lines.ts'
import type { FleetState } from '../model.ts'
import { agoText, lengthText } from '../words.ts'
import { CertificatesView } from './certificates-view.ts'
import { CompareView } from './compare-view.ts'
import { FleetView } from './fleet-view.ts'
import { OneRunView } from './run-view.ts'
import { RunsView } from './runs-view.ts'
import { useFleet } from './streams.ts'

/** A value that is older than this is shown in grey with its age. */
const staleMs = 15_000

function Page(): VNode {
  const { fleet, lost } = useFleet()
  const path = usePath()
  const [received, setReceived] = useState(0)
  const [local, setLocal] = useState(Date.now())
  useEffect(() => setReceived(Date.now()), [fleet])
  useEffect(() => {
    const timer = setInterval(() => setLocal(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  const passed = Math.max(0, local - received)
  const now = (Date.parse(fleet?.at ?? '') || local) + (fleet?.at ? passed : 0)
  const stale = fleet?.problem !== undefined || lost !== undefined || (received > 0 && passed > staleMs)
  return html`<a class="skip" href="#content" onClick=${skip}>Skip to the content</a>
    <${Header} fleet=${fleet} lost=${lost} path=${path} local=${local} />
    <main id="content" tabindex="-1" class=${stale ? 'stale' : ''}>${fleet?.at ? viewOf(path, fleet, now) : html`<h1>${fleet?.problem ? 'Nothing to show' : 'Connecting to the SuperLink …'}</h1>`}</main>` as VNode
}

function viewOf(path: string, fleet: FleetState, now: number): VNode {
  const [, id] = /^\/runs\/(\d+)$/.exec(path) ?? []
  if (id !== undefined)
    return html`<${OneRunView} key=${id} id=${id} run=${fleet.runs.find((one) => one.id === id)} now=${now} readOnly=${fleet.readOnly} />` as VNode
  const [, compared] = /^\/runs\/compare\/(\d+(?:,\d+)*)$/.exec(path) ?? []
  const ids = [...new Set(compared?.split(','))].slice(0, comparedRunsMax)
  if (ids.length > 0) return html`<${CompareView} key=${compared} ids=${ids} runs=${fleet.runs} />` as VNode
  if (path === '/runs') return html`<${RunsView} runs=${fleet.runs} moreRuns=${fleet.moreRuns} now=${now} />` as VNode
  if (path === '/certificates') return html`<${CertificatesView} fleet=${fleet} now=${now} />` as VNode
  return html`<${FleetView} nodes=${fleet.nodes} now=${now} />` as VNode
}

function Header({
  fleet,
  lost,
  path,
  local,
}: {
  fleet: FleetState | undefined
  lost: string | undefined
  path: string
  local: number
}): VNode {
  const online = fleet?.nodes.filter(({ status }) => status === 'online').length ?? 0
  const offline = fleet?.nodes.filter(({ status }) => status === 'offline').length ?? 0
  const running = fleet?.runs.filter(({ status }) => status !== 'finished').length ?? 0
  const waiting = fleet?.runs.filter((run) => run.waitingFor !== '' && run.status !== 'finished').length ?? 0
  const link = (to: string, title: string, text: string): VNode =>
    html`<a href=${`#${to}`} aria-current=${path === to || path.startsWith(`${to}/`) ? 'page' : undefined}><b>${title}</b> ${text}</a>` as VNode
  const ended = fleet?.readOnly ? unreachable : 'flwr dashboard has ended or cannot be reached: start it again.'
  const problem =
    lost !== undefined
      ? lost
        ? `${lost} Trying again.`
        : ended
      : fleet?.problem && `${fleet.problem.sentence} Since ${agoText(fleet.problem.since, local)}; trying again.`
  return html`<header>
    <div class="top"><strong>Trellis</strong> <span>${fleet?.superlink ?? ''}</span><span class="space"></span>
      <span class=${problem ? 'bad' : 'good'}><span aria-hidden="true">${problem ? '○' : '●'}</span> ${problem ? 'not connected' : 'connected'}</span></div>
    <nav aria-label="Views">
      ${link('/fleet', 'Fleet', `${online} online${offline > 0 ? `, ${offline} offline` : ''}`)}
      ${link('/runs', 'Runs', `${running} under way${waiting > 0 ? `, ${waiting} waiting` : ''}`)}
      ${link('/certificates', 'Certificates', nextText(fleet, local))}
    </nav>
    <p class="bad problem" role="alert">${problem ?? ''}</p>
  </header>` as VNode
}

const unreachable = 'The SuperLink cannot be reached. Trying again.'

/** What ends next, and how often peers were refused within a day. */
function nextText(fleet: FleetState | undefined, local: number): string {
  const [next] = fleet ? listDeadlines(fleet.security, fleet.nodes) : []
  const refused = fleet?.security?.refusals.reduce((sum, { count }) => sum + count, 0) ?? 0
  const left = (next?.at ?? 0) - (Date.parse(fleet?.at ?? '') || local)
  const ends = next ? (left > 0 ? `next ends in ${lengthText(left)}` : 'one has ended') : ''
  return [ends, refused > 0 ? `${refused} refused` : ''].filter((text) => text !== '').join(', ')
}

/** The part of the address after `#`: a view can be bookmarked, and the browser's history works. */
function usePath(): string {
  const read = (): string => location.hash.slice(1) || '/fleet'
  const [path, setPath] = useState(read)
  useEffect(() => {
    const onChange = (): void => {
      setPath(read())
      document.getElementById('content')?.focus()
    }
    addEventListener('hashchange', onChange)
    return () => removeEventListener('hashchange', onChange)
  }, [])
  return path
}

function skip(event: Event): void {
  event.preventDefault()
  document.getElementById('content')?.focus()
}

render(html`<${Page} />`, document.getElementById('page') as HTMLElement)
