import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import type { AcquiredTask } from '../app-api/task-source.ts'
import { noTraces, type TraceSpan, traceParent } from '../base/traces.ts'
import { withTrace } from './launch-trace.ts'

const task: AcquiredTask = { taskId: 5n, runId: 7n, program: 'flwr-clientapp', component: undefined, token: 't' }

test('the process of an app is a part of the task, from its launch to its only end', () => {
  const clock = new FakeClock()
  const spans: TraceSpan[] = []
  const { trace } = withTrace(task, { isOn: true, record: (span) => spans.push(span) }, clock)
  assert.equal(trace?.parent, traceParent(7n, 'process of task 5 of 7'))
  clock.advance(3000)
  trace?.ended()
  clock.advance(1000)
  trace?.ended()
  const [span] = spans
  assert.equal(spans.length, 1)
  assert.deepEqual([span?.key, span?.parent], ['process of task 5 of 7', 'task 5 of 7'])
  assert.equal((span?.endedAt ?? 0) - (span?.startedAt ?? 0), 3000)
})

test('a task has no trace if traces are off, or if its server names no task', () => {
  const clock = new FakeClock()
  assert.equal(withTrace(task, noTraces, clock).trace, undefined)
  const traces = { isOn: true, record: () => assert.fail('there is nothing to record') }
  assert.equal(withTrace({ ...task, taskId: undefined }, traces, clock).trace, undefined)
})
