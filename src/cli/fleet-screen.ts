import { stripVTControlCharacters } from 'node:util'
import { shortened } from '../base/printable.ts'
import type { FleetState, NodeView, RunView } from '../web/model.ts'
import { agoText, certificateText, signOf } from '../web/words.ts'
import { paint } from './output.ts'
import { type Column, table } from './table.ts'

export interface ScreenSize {
  readonly columns: number
  readonly rows: number
}

const runColumns: readonly Column[] = [
  { title: 'Run ID', isId: true, rank: 1 },
  { title: 'App', isFreeText: true },
  { title: 'Status', styleOf: (status) => (status.startsWith(signOf('running')) ? 'cyan' : undefined) },
  { title: 'Since', rank: 2 },
  { title: 'Waits for', isFreeText: true, rank: 3 },
]
const nodeColumns: readonly Column[] = [
  { title: 'SuperNode', isFreeText: true },
  { title: 'State', styleOf: (state) => (state.startsWith(signOf('online')) ? 'green' : 'red') },
  { title: 'Since', rank: 1 },
  { title: 'Organization', rank: 3 },
  { title: 'Authentication', rank: 2 },
]
/** Header and divider of a table, and the empty line before it. */
const tableHead = 3

/**
 * Returns the lines that `flwr top` shows: a summary, the runs that have not ended, and the SuperNodes, those that need
 * attention first, as many as there is room for.
 */
export function fleetScreen(state: FleetState, size: ScreenSize): string[] {
  return screenLines(state, size).map((line) => cutLine(line, size.columns))
}

/** Cuts a line that a terminal would wrap. Its colours are lost then. */
function cutLine(line: string, columns: number): string {
  const signs = [...stripVTControlCharacters(line)]
  return signs.length <= columns ? line : `${signs.slice(0, columns - 1).join('')}…`
}

function screenLines(state: FleetState, { columns, rows }: ScreenSize): string[] {
  const now = Date.parse(state.at)
  const runs = state.runs.filter(({ status }) => status !== 'finished')
  const nodes = state.nodes.filter(({ status }) => status !== 'unregistered').sort(byNeed)
  const lines = [paint('bold', shortened(summaryText(state, nodes, runs), columns))]
  const { problem } = state
  if (problem) lines.push(paint('red', shortened(`Not connected since ${problem.since}: ${problem.sentence}`, columns)))
  if (state.at === '') return lines
  const room = Math.max(0, rows - lines.length - 1)
  if (runs.length > 0)
    lines.push(
      '',
      ...limited(
        runColumns,
        runs.map((run) => runCells(run, now)),
        columns,
        room / 2,
      ),
    )
  if (nodes.length > 0)
    lines.push(
      '',
      ...limited(
        nodeColumns,
        nodes.map((node) => nodeCells(node, now)),
        columns,
        rows - lines.length - 1,
      ),
    )
  return lines
}

function summaryText({ superlink, at }: FleetState, nodes: readonly NodeView[], runs: readonly RunView[]): string {
  if (at === '') return `${superlink}  connecting`
  const online = nodes.filter(({ status }) => status === 'online').length
  const waiting = runs.filter(({ waitingFor }) => waitingFor !== '').length
  const parts = [
    `${online} of ${nodes.length} SuperNodes online`,
    `${runs.length} ${runs.length === 1 ? 'run' : 'runs'} under way${waiting > 0 ? `, ${waiting} waiting` : ''}`,
    `${at.slice(0, 19).replace('T', ' ')}Z`,
  ]
  return `${superlink}  ${parts.join(' · ')}`
}

function runCells(run: RunView, now: number): string[] {
  return [
    run.id,
    run.app,
    `${signOf(run.status)} ${run.status}`,
    agoText(run.runningAt || run.pendingAt, now),
    run.waitingFor,
  ]
}

function nodeCells(node: NodeView, now: number): string[] {
  const state = stateOf(node)
  return [
    node.name || node.identity || node.id,
    `${signOf(state)} ${state}`,
    agoText(node.since, now),
    node.organization,
    certificateText(node, now).text,
  ]
}

/** A table of at most so many lines; the last says how many rows are missing. */
function limited(header: readonly Column[], cells: readonly string[][], columns: number, lines: number): string[] {
  const room = Math.max(1, Math.floor(lines) - tableHead)
  const shown = cells.length > room ? cells.slice(0, Math.max(1, room - 1)) : cells
  const text = table(header, shown, columns, { hint: false }).split('\n')
  return shown.length < cells.length ? [...text, `… and ${cells.length - shown.length} more`] : text
}

function stateOf({ status, admission }: NodeView): string {
  return admission === 'open' ? status : admission
}

/** Those that are not at work first. */
function byNeed(a: NodeView, b: NodeView): number {
  const rank = (node: NodeView): number => (stateOf(node) === 'online' ? (node.renewalFails ? 1 : 2) : 0)
  return rank(a) - rank(b) || (a.name || a.identity || a.id).localeCompare(b.name || b.identity || b.id)
}
