import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { limits } from '../base/limits.ts'
import { AppRoom } from './app-room.ts'

test('a SuperExec that is full again and again warns once a minute for each limit', () => {
  const clock = new FakeClock()
  const { log, lines } = recordingLogger()
  const room = new AppRoom(log, clock)
  const full = { apps: limits.appProcessesMax, serverApps: 0 }
  const ofServerApps = { apps: limits.serverAppsMax, serverApps: limits.serverAppsMax }
  for (let time = 0; time < 50; time++) {
    assert.deepEqual(room.programs(full), [])
    assert.deepEqual(room.programs(ofServerApps), ['flwr-clientapp'])
    assert.deepEqual(room.programs({ apps: 1, serverApps: 1 }), ['flwr-serverapp', 'flwr-clientapp'])
  }
  assert.equal(lines.length, 2)
  assert.match(lines.join('\n'), /As many apps run .*\(1024\)[^\n]*\n.*As many ServerApps run/)
  clock.advance(60_000)
  room.programs(full)
  assert.equal(lines.length, 3)
})
