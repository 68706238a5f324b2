import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rehearse } from './readiness.ts'

test('the app and the message with which a process prepares itself are valid', async () => {
  await assert.doesNotReject(rehearse())
})
