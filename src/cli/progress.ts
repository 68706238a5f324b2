import { oneLine } from '../base/printable.ts'
import { curvesOf, type RunSeries, timeLeftMs } from '../web/run-series.ts'
import { durationText } from './units.ts'

/** The words and lines by which a terminal shows how far a run is. Pure: drawing happens elsewhere. */

/**
 * Returns the lines below the log of a run: a bar and how far the run is, on several lines if the terminal is narrow, and then
 * its metrics.
 */
export function streamLines(
  series: RunSeries,
  { elapsedSeconds, waits, columns }: { elapsedSeconds: number; waits: boolean; columns: number },
): string[] {
  const known = progressParts(series)
  const what = waits ? ['waiting for the SuperLink'] : known.length > 0 ? known : ['waiting for the ServerApp']
  const parts = [progressBar(series, barCells), durationText(elapsedSeconds), ...what].filter((part) => part !== '')
  return [...joined(parts, columns), ...metricLines(series, columns)]
}

const barCells = 20
const separator = ' · '

/** Joins parts to lines of at most this width. A part that is longer, such as the names of late nodes, is broken at its commas. */
function joined(parts: readonly string[], columns: number): string[] {
  const lines: string[] = []
  for (const part of parts) {
    const pieces = part.length > columns ? part.split(/(?<=,) /) : [part]
    for (const [index, piece] of pieces.entries()) {
      const line = lines.at(-1)
      const longer = line === undefined ? piece : line + (index === 0 ? separator : ' ') + piece
      if (line === undefined || longer.length > columns) lines.push(piece)
      else lines[lines.length - 1] = longer
    }
  }
  return lines
}

/**
 * Returns e.g. `round 2/3 · train · 2 of 3 nodes replied · late: site-k · about 40s left`, without metrics. Empty while
 * nothing is known.
 */
export function progressText(series: RunSeries): string {
  return progressParts(series).join(separator)
}

function progressParts(series: RunSeries): string[] {
  const { round, rounds, phase, asked, replied, failed, late } = series
  const parts: string[] = []
  if (round > 0) parts.push(`round ${round}/${rounds}`)
  if (phase === 'round-end') parts.push('done')
  else if (phase !== '') parts.push(oneLine(phase))
  if (asked > 0 && phase !== 'round-end') {
    parts.push(`${replied} of ${asked} nodes replied${failed > 0 ? `, ${failed} with an error` : ''}`)
    if (late.length > 0) parts.push(`late: ${late.map(oneLine).join(', ')}`)
  }
  const leftMs = timeLeftMs(series)
  if (leftMs !== undefined) parts.push(`about ${durationText(leftMs / 1000)} left`)
  return parts
}

/** Returns one line a metric, e.g. `train loss  █▆▃▂▁ 0.23`. `columns`: the width of the terminal. */
export function metricLines(series: RunSeries, columns: number): string[] {
  const curves = shownCurves(series).map(({ name, points }) => ({
    name: oneLine(name).slice(0, nameColumnsMax),
    points,
  }))
  const nameColumns = Math.max(0, ...curves.map(({ name }) => name.length))
  const cells = Math.min(sparklineCellsMax, columns - nameColumns - valueColumns)
  return curves.map(({ name, points }) => {
    const line =
      cells < 2
        ? ''
        : `${sparkline(
            points.map(([, value]) => value),
            cells,
          )} `
    return `${name.padEnd(nameColumns)} ${line}${valueText(lastValue(points))}`
  })
}

/** Returns the last values as blocks between their smallest and largest; a space where a value is not finite. */
export function sparkline(values: readonly number[], cells: number): string {
  const shown = values.slice(-cells)
  const finite = shown.filter(Number.isFinite)
  const low = Math.min(...finite)
  const range = Math.max(...finite) - low
  const block = (value: number): string => {
    if (!Number.isFinite(value)) return ' '
    const level = range > 0 ? Math.round(((value - low) / range) * (blocks.length - 1)) : 0
    return blocks[level] as string
  }
  return shown.map(block).join('')
}

const blocks = [...'▁▂▃▄▅▆▇█']
const sparklineCellsMax = 40
const nameColumnsMax = 30
/** A value of four digits with sign, point and exponent, and the spaces around it. */
const valueColumns = 14
const metricsMax = 6

function shownCurves(series: RunSeries): ReturnType<typeof curvesOf> {
  return curvesOf(series).slice(0, metricsMax)
}

function lastValue(points: readonly (readonly [number, number])[]): number {
  return points.at(-1)?.[1] ?? Number.NaN
}

/** Returns a bar of `cells` cells, filled as far as the rounds are. Empty for an app without rounds. */
export function progressBar(series: RunSeries, cells: number): string {
  if (series.rounds < 1) return ''
  const full = Math.round(fractionDone(series) * cells)
  return '━'.repeat(full) + '╌'.repeat(cells - full)
}

/** Training counts as one half of a round and evaluation as the other. From 0 to 1. */
function fractionDone({ round, rounds, phase, asked, replied }: RunSeries): number {
  const replies = asked > 0 ? Math.min(1, replied / asked) : 0
  const ofRound =
    phase === 'round-end' ? 1 : phase === 'evaluate' ? 0.5 + replies / 2 : phase === 'train' ? replies / 2 : 0
  return Math.min(1, Math.max(0, (round - 1 + ofRound) / rounds))
}

/**
 * Returns the line that this change is worth if nothing can be redrawn: nodes are late, or, in an app without rounds, all
 * replies have come. Empty otherwise: strategies log their rounds, replies and metrics themselves, in order.
 */
export function milestoneText(before: RunSeries, now: RunSeries): string {
  const isComplete = now.rounds === 0 && now.asked > 0 && now.replied >= now.asked
  const wasComplete = before.replied >= before.asked && before.asked === now.asked
  const isLate = now.late.length > 0 && before.late.length === 0
  return isLate || (isComplete && !wasComplete) ? progressText(now) : ''
}

/** Four digits, without an exponent where none is needed. */
function valueText(value: number): string {
  if (!Number.isFinite(value)) return '?'
  return Number.isInteger(value) ? String(value) : value.toPrecision(4)
}
