import assert from 'node:assert/strict'
import { test } from 'node:test'
import { emptySeries, withEvents } from '../web/run-series.ts'
import { metricLines, milestoneText, progressBar, progressText, sparkline } from './progress.ts'

const at = (seconds: number): string => new Date(seconds * 1000).toISOString()
const progress = (data: object, seconds = 0) => ({
  id: '1',
  at: at(seconds),
  event: 'trellis.progress',
  data: JSON.stringify(data),
})
const replies = (asked: number, replied: number, failed = 0, late: string[] = []) => ({
  id: '1',
  at: at(0),
  event: 'trellis.replies',
  data: JSON.stringify({ asked, replied, failed, ...(late.length > 0 ? { late } : {}) }),
})

/** What a terminal shows after each event, and the line that another output gets. */
function shown(events: ReturnType<typeof progress>[]): { text: string; milestone: string }[] {
  let now = emptySeries()
  return events.map((event) => {
    const before = now
    now = withEvents(before, [event])
    return { text: progressText(now), milestone: milestoneText(before, now) }
  })
}

test('a round is shown from its beginning to its end: replies, failures, late nodes', () => {
  const lines = shown([
    progress({ round: 1, rounds: 2, phase: 'train' }),
    replies(3, 0),
    replies(3, 2),
    replies(3, 2, 0, ['site-k']),
    replies(3, 3, 1),
    progress({ round: 1, rounds: 2, phase: 'evaluate', metrics: { loss: 0.123456 } }),
    replies(3, 3),
    progress({ round: 1, rounds: 2, phase: 'round-end', metrics: { loss: 0.123456, accuracy: 1 } }),
    progress({ round: 2, rounds: 2, phase: 'train' }),
  ])
  assert.deepEqual(
    lines.map(({ text }) => text),
    [
      'round 1/2 · train',
      'round 1/2 · train · 0 of 3 nodes replied',
      'round 1/2 · train · 2 of 3 nodes replied',
      'round 1/2 · train · 2 of 3 nodes replied · late: site-k',
      'round 1/2 · train · 3 of 3 nodes replied, 1 with an error',
      'round 1/2 · evaluate',
      'round 1/2 · evaluate · 3 of 3 nodes replied',
      'round 1/2 · done',
      'round 2/2 · train',
    ],
  )
  assert.deepEqual(
    lines.map(({ milestone }) => milestone).filter((text) => text !== ''),
    ['round 1/2 · train · 2 of 3 nodes replied · late: site-k'],
  )
})

test('the time that is left follows the pace of the rounds', () => {
  const events = [1, 2, 3].map((round) => progress({ round, rounds: 10, phase: 'round-end' }, round * 20))
  assert.equal(shown(events)[2]?.text, 'round 3/10 · done · about 2m 20s left')
})

test('each metric has a line with its course and its last value, as far as the terminal is wide', () => {
  const rounds = [0.9, 0.5, 0.3, 0.2].flatMap((loss, index) => [
    progress({ round: index + 1, rounds: 9, phase: 'train', metrics: { loss } }),
    progress({ round: index + 1, rounds: 9, phase: 'evaluate', metrics: { accuracy: 1 - loss } }),
  ])
  const series = withEvents(emptySeries(), rounds)
  assert.deepEqual(metricLines(series, 80), ['evaluate accuracy ▁▅▇█ 0.8000', 'train loss        █▄▂▁ 0.2000'])
  assert.deepEqual(metricLines(series, 33), ['evaluate accuracy ▁█ 0.8000', 'train loss        █▁ 0.2000'])
  assert.deepEqual(metricLines(series, 20), ['evaluate accuracy 0.8000', 'train loss        0.2000'])
})

test('a course without change is low, and has a gap where a value is not finite', () => {
  assert.equal(sparkline([1, 1, 1], 8), '▁▁▁')
  assert.equal(sparkline([0, Number.NaN, 7, Number.POSITIVE_INFINITY], 8), '▁ █ ')
})

test('a bar goes from empty to full over the rounds', () => {
  const events = [
    progress({ round: 1, rounds: 2, phase: 'train' }),
    replies(2, 2),
    progress({ round: 1, rounds: 2, phase: 'round-end' }),
    progress({ round: 2, rounds: 2, phase: 'evaluate' }),
    progress({ round: 2, rounds: 2, phase: 'round-end' }),
  ]
  const bars = events.map((_, index) => progressBar(withEvents(emptySeries(), events.slice(0, index + 1)), 8))
  assert.deepEqual(bars, ['╌╌╌╌╌╌╌╌', '━━╌╌╌╌╌╌', '━━━━╌╌╌╌', '━━━━━━╌╌', '━━━━━━━━'])
  assert.equal(progressBar(emptySeries(), 8), '')
})

test('an app without rounds still shows how many nodes have replied', () => {
  const lines = shown([replies(5, 1), replies(5, 5)])
  assert.equal(lines[0]?.text, '1 of 5 nodes replied')
  assert.deepEqual(
    lines.map(({ milestone }) => milestone),
    ['', '5 of 5 nodes replied'],
  )
  assert.equal(progressText(emptySeries()), '')
})

test('events that are not understood, or hostile, change nothing and steer nothing', () => {
  const before = withEvents(emptySeries(), [progress({ round: 1, rounds: 2, phase: 'train' })])
  for (const event of [
    { ...progress({}), data: 'not JSON' },
    { ...progress({}), data: 'null' },
    { ...progress({}), event: 'something.else' },
  ])
    assert.deepEqual(withEvents(before, [event]), before)
  const odd = withEvents(emptySeries(), [
    progress({ round: 1, rounds: 2, phase: '\x1b[2Jtrain\n', metrics: { '\x1b[31ma': 2, text: 'x', nested: {} } }),
    replies(2, 1, 0, ['\x1b[2Jsite']),
  ])
  assert.equal(progressText(odd), 'round 1/2 · train  · 1 of 2 nodes replied · late: site')
  assert.match(metricLines(odd, 80).join(), /^train {2}a ▁ 2$/)
  assert.equal(
    progressBar(withEvents(emptySeries(), [progress({ round: 9, rounds: 2, phase: 'round-end' })]), 4),
    '━━━━',
  )
})
