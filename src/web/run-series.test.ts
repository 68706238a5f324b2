import assert from 'node:assert/strict'
import { test } from 'node:test'
import { csv } from './csv.ts'
import { curveSvg, thinned } from './curve-svg.ts'
import { comparedName, differingConfig, overlaidCurves } from './overlay.ts'
import { curvesOf, emptySeries, timeLeftMs, withEvents } from './run-series.ts'

const progress = (round: number, phase: string, metrics?: object, at = '') => ({
  id: String(round),
  at,
  event: 'trellis.progress',
  data: JSON.stringify({ round, rounds: 10, phase, metrics }),
})

test('metrics of training and evaluation are curves of their own, and the end of a round repeats none', () => {
  const events = [
    progress(1, 'train', { loss: 0.9 }),
    progress(1, 'evaluate', { loss: 0.8 }),
    progress(1, 'round-end', { loss: 0.8, auc: 0.7 }),
  ]
  assert.deepEqual(curvesOf(withEvents(emptySeries(), events)), [
    { name: 'evaluate loss', points: [[1, 0.8]] },
    { name: 'round auc', points: [[1, 0.7]] },
    { name: 'train loss', points: [[1, 0.9]] },
  ])
})

test('a new phase begins without replies, and events of another release change nothing', () => {
  const replies = { id: '1', at: '', event: 'trellis.replies', data: '{"asked":3,"replied":2,"failed":1}' }
  const asked = withEvents(emptySeries(), [progress(1, 'train'), replies])
  assert.deepEqual([asked.asked, asked.replied, asked.failed], [3, 2, 1])
  assert.equal(withEvents(asked, [progress(1, 'evaluate')]).asked, 0)
  const odd = ['null', '[', '7', '{"metrics":{"loss":"x"}}'].map((data) => ({ ...replies, event: 'other', data }))
  assert.deepEqual(withEvents(asked, odd), asked)
})

test('the time that is left follows the pace of the last rounds', () => {
  const ends = [1, 2, 3].map((round) => progress(round, 'round-end', {}, new Date(round * 60_000).toISOString()))
  assert.equal(timeLeftMs(withEvents(emptySeries(), ends)), 7 * 60_000)
  assert.equal(timeLeftMs(withEvents(emptySeries(), ends.slice(0, 1))), undefined)
})

test('a curve of many rounds keeps its extremes', () => {
  const points = Array.from({ length: 10_000 }, (_, x) => [x, x === 5003 ? 99 : x % 7] as const)
  const shown = thinned(points, 500)
  assert.ok(shown.length <= 1000)
  assert.ok(shown.some(([x, y]) => x === 5003 && y === 99))
  assert.deepEqual(
    shown.map(([x]) => x),
    shown.map(([x]) => x).toSorted((a, b) => a - b),
  )
})

test('a cell of a CSV file is no formula', () => {
  assert.equal(csv([['=1+1', 'a "b", c', -2]]), `'=1+1,"a ""b"", c",-2`)
})

test('the same metric of several runs is one chart, with a line and a style for each run', () => {
  const seriesOf = (metrics: object) => withEvents(emptySeries(), [progress(1, 'train', metrics)])
  const runs = [{ loss: 0.9 }, { auc: 0.5, loss: 0.8 }].map((metrics, id) => ({
    id: `${id}`,
    series: seriesOf(metrics),
  }))
  const curves = overlaidCurves(runs)
  assert.deepEqual(curves, [
    { name: 'train auc', lines: [{ run: 1, points: [[1, 0.5]] }] },
    {
      name: 'train loss',
      lines: [
        { run: 0, points: [[1, 0.9]] },
        { run: 1, points: [[1, 0.8]] },
      ],
    },
  ])
  const loss = curves[1]?.lines.map(({ run, points }) => ({
    label: comparedName(`1234567${run}`, { app: '<a>' }),
    points,
    style: run,
  }))
  const svg = curveSvg('train loss', loss ?? [])
  assert.match(
    svg,
    /aria-label="train loss: &#60;a&#62; …345670 1 rounds, last 0.9000; &#60;a&#62; …345671 1 rounds, last 0.8000"/,
  )
  assert.match(svg, />&#60;a&#62; …345671<\/text>/)
  assert.match(svg, /stroke-dasharray/)
  assert.doesNotMatch(svg, /<a>/)
})

test('a comparison shows the configuration in which the runs differ, and nothing else', () => {
  const runs = [{ config: { lr: '0.1', epochs: '3' } }, { config: { lr: '0.5', epochs: '3', seed: '7' } }, undefined]
  assert.deepEqual(differingConfig(runs.slice(0, 2)), [
    { key: 'lr', values: ['0.1', '0.5'] },
    { key: 'seed', values: ['', '7'] },
  ])
  assert.deepEqual(differingConfig(runs.slice(0, 1)), [])
  assert.deepEqual(differingConfig(runs)[0], { key: 'epochs', values: ['3', '3', ''] })
  assert.deepEqual(differingConfig([{ config: { constructor: '1' } }, { config: {} }]), [
    { key: 'constructor', values: ['1', ''] },
  ])
})
