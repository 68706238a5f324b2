import assert from 'node:assert/strict'
import { truncateSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { TestCa } from '../../../test/harness/certificates.ts'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { recordingLogger } from '../../../test/harness/recording-logger.ts'
import { systemClock } from '../../base/clock.ts'
import { limits } from '../../base/limits.ts'
import { readClientTrust } from '../client-trust.ts'
import { FileSet } from '../file-set.ts'

test('a list that has become too large is not read and is logged once, and the list in use stays', async () => {
  using directory = temporaryDirectory()
  const ca = await TestCa.create(directory.path)
  const path = directory.file('list.crl')
  writeFileSync(path, await ca.crl([], 1))
  const files = { ca: { flag: '--ca', path: ca.certfile }, policy: undefined, crl: { flag: '--ssl-client-crl', path } }
  const { log, lines } = recordingLogger()
  await using set = await FileSet.open({
    ...{ name: 'client trust', clock: systemClock, log, restMs: 1 },
    read: () => readClientTrust(files, Date.now()),
    paths: () => [ca.certfile, path],
  })
  const inUse = set.current()
  truncateSync(path, limits.revocationListBytesMax + 1)
  for (let looks = 0; looks < 3; looks++) await set.look()
  assert.equal(set.current(), inUse)
  assert.match(set.problem?.sentence ?? '', /list\.crl: the revocation lists have more than 64 MiB/)
  assert.equal(lines.length, 1, lines.join('\n'))
  assert.match(lines[0] ?? '', /^warn Kept the client trust that is in use/)
})
