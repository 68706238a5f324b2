import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RunView } from '../../web/model.ts'
import { emptySeries, withEvents } from '../../web/run-series.ts'
import { reportPage } from './report-page.ts'

const run: RunView = {
  id: '7',
  app: '@hospital/<script>alert(1)</script>',
  status: 'finished',
  subStatus: 'completed',
  details: '',
  owner: 'alice',
  organization: 'Hospital A',
  federation: '@none/default',
  fabHash: 'ab12',
  pendingAt: '2026-11-29T08:00:00Z',
  runningAt: '2026-11-29T08:00:00Z',
  finishedAt: '2026-11-29T08:40:00Z',
  bytesSent: 1024,
  bytesReceived: 2048,
  clientSeconds: 90,
  waitingFor: '',
  waitingSince: '',
  remedy: '',
  config: { 'learning-rate': '0.1' },
}

const seriesOf = (metrics: object) =>
  withEvents(emptySeries(), [
    {
      id: '1',
      at: '',
      event: 'trellis.progress',
      data: JSON.stringify({ round: 1, rounds: 2, phase: 'train', metrics }),
    },
  ])

test('a report holds facts, curves and values of a run, and loads or runs nothing', () => {
  const page = reportPage(run, seriesOf({ loss: 0.5, '"><img src=x>': 1 }), '2026-11-29T09:00:00Z')
  assert.match(page, /<th scope="row">Duration<\/th><td>40 min<\/td>/)
  assert.match(page, /<th scope="row">Configuration: learning-rate<\/th><td>0.1<\/td>/)
  assert.match(page, /<th scope="row">Owner<\/th><td>alice, Hospital A<\/td>/)
  assert.match(page, /<th scope="row">Hash of the app<\/th><td>ab12<\/td>/)
  assert.match(page, /aria-label="train loss: 1 rounds, last 0.5000"/)
  assert.match(page, /<tr><th scope="row">1<\/th><td>1<\/td><td>0.5000<\/td><\/tr>/)
  assert.match(page, /default-src 'none'; style-src 'unsafe-inline'/)
  assert.doesNotMatch(page, /<script|<img|<link|src=x>/)
})

test('a run without metrics has a report too', () => {
  const page = reportPage({ ...run, subStatus: 'failed', details: 'It broke.' }, emptySeries(), '2026-11-29T09:00:00Z')
  assert.match(page, /<td>finished: failed<\/td>/)
  assert.match(page, /<td>It broke\.<\/td>/)
  assert.match(page, /The app reported no metric\./)
})

test('a run with a privacy budget says what it has spent', () => {
  const spent = { 'privacy-epsilon': 0.51234, 'privacy-epsilon-max': 8, 'privacy-delta': 1e-5 }
  const page = reportPage(run, seriesOf(spent), '2026-11-29T09:00:00Z')
  assert.match(page, /Privacy spent<\/th><td>epsilon 0\.5123 of 8 at delta 0\.00001, after round 1</)
  assert.doesNotMatch(reportPage(run, seriesOf({ loss: 1 }), '2026-11-29T09:00:00Z'), /Privacy spent/)
})
