import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isMilestone, noProgress, progressBar, progressText, type RunProgress, withEvent } from './progress.ts'

const progress = (data: object) => ({ event: 'trellis.progress', data: JSON.stringify(data) })
const replies = (asked: number, replied: number, failed = 0) => ({
  event: 'trellis.replies',
  data: JSON.stringify({ asked, replied, failed }),
})

/** What is shown after each event, and whether it gets a line of its own where nothing can be redrawn. */
function shown(events: { event: string; data: string }[]): { text: string; milestone: boolean }[] {
  let now: RunProgress = noProgress
  return events.map((event) => {
    const before = now
    now = withEvent(before, event)
    return { text: progressText(now), milestone: isMilestone(before, now) }
  })
}

test('a round is told from its beginning to its end: replies of those asked, failures, the latest metrics', () => {
  const lines = shown([
    progress({ round: 1, rounds: 2, phase: 'train' }),
    replies(3, 0),
    replies(3, 2),
    replies(3, 3, 1),
    progress({ round: 1, rounds: 2, phase: 'evaluate', metrics: { loss: 0.123456 } }),
    replies(3, 3),
    progress({ round: 1, rounds: 2, phase: 'round-end', metrics: { accuracy: 1 } }),
    progress({ round: 2, rounds: 2, phase: 'train' }),
  ])
  assert.deepEqual(
    lines.map(({ text }) => text),
    [
      'round 1/2 · train',
      'round 1/2 · train · 0 of 3 nodes replied',
      'round 1/2 · train · 2 of 3 nodes replied',
      'round 1/2 · train · 3 of 3 nodes replied, 1 with an error',
      'round 1/2 · evaluate · loss 0.1235',
      'round 1/2 · evaluate · 3 of 3 nodes replied · loss 0.1235',
      'round 1/2 · done · loss 0.1235 · accuracy 1',
      'round 2/2 · train · loss 0.1235 · accuracy 1',
    ],
  )
  assert.deepEqual(
    lines.map(({ milestone }) => milestone),
    [false, false, false, true, false, true, true, false],
  )
})

test('a bar goes from empty to full over the rounds', () => {
  const events = [
    progress({ round: 1, rounds: 2, phase: 'train' }),
    replies(2, 2),
    progress({ round: 1, rounds: 2, phase: 'round-end' }),
    progress({ round: 2, rounds: 2, phase: 'evaluate' }),
    progress({ round: 2, rounds: 2, phase: 'round-end' }),
  ]
  const bars = events.map((_, index) => progressBar(events.slice(0, index + 1).reduce(withEvent, noProgress), 8))
  assert.deepEqual(bars, ['╌╌╌╌╌╌╌╌', '━━╌╌╌╌╌╌', '━━━━╌╌╌╌', '━━━━━━╌╌', '━━━━━━━━'])
  assert.equal(progressBar(noProgress, 8), '')
})

test('an app without rounds still shows who has replied', () => {
  assert.equal(shown([replies(5, 1)])[0]?.text, '1 of 5 nodes replied')
  assert.equal(progressText(noProgress), '')
})

test('events that are not understood, or hostile, change nothing and steer nothing', () => {
  const before = withEvent(noProgress, progress({ round: 1, rounds: 2, phase: 'train' }))
  for (const event of [
    { event: 'trellis.progress', data: 'not JSON' },
    { event: 'trellis.progress', data: 'null' },
    { event: 'something.else', data: '{}' },
  ])
    assert.deepEqual(withEvent(before, event), before)
  const odd = progress({
    round: 1,
    rounds: 2,
    phase: '\x1b[2Jtrain\n',
    metrics: { '\x1b[31ma': 2, text: 'x', nested: {} },
  })
  assert.equal(progressText(withEvent(noProgress, odd)), 'round 1/2 · train  · a 2')
  assert.equal(progressBar(withEvent(noProgress, progress({ round: 9, rounds: 2, phase: 'round-end' })), 4), '━━━━')
})
