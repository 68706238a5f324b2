import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { OpenStreams } from './open-streams.ts'

test('a stream behind another response over the same connection is refused: its end would never be known', () => {
  const queued = new ServerResponse(new IncomingMessage(new Socket()))
  new OpenStreams(1).serve(() => assert.fail('it was opened'), queued)
  assert.equal(queued.statusCode, 400)
})
