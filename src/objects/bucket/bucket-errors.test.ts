import assert from 'node:assert/strict'
import { test } from 'node:test'
import { temporaryDirectory } from '../../../test/harness/directory.ts'
import { FakeClock } from '../../../test/harness/fake-clock.ts'
import { recordingLogger } from '../../../test/harness/recording-logger.ts'
import { credentialsInFile } from './bucket-credentials.ts'
import { errorOfRefusal } from './bucket-errors.ts'
import { BucketRequests } from './bucket-requests.ts'
import { parseBucketUrl } from './bucket-target.ts'
import { BucketWatch } from './bucket-watch.ts'

const target = parseBucketUrl('s3://models/fleet?endpoint=https://s3.example&region=eu-1', '--storage')
const refusal = (code: string, more: { status?: number; region?: string; date?: Date } = {}) => ({
  ...{ status: 403, code, region: undefined, date: undefined },
  ...more,
})

test('what an S3 server refuses for good becomes one sentence with a remedy', () => {
  const early = new Date(Date.now() - 20 * 60_000)
  const refusals: readonly (readonly [ReturnType<typeof refusal>, RegExp])[] = [
    [refusal('NoSuchBucket', { status: 404 }), /does not exist: create the bucket models at https:\/\/s3\.example/],
    [refusal('InvalidAccessKeyId'), /rejects the access key: it is unknown there\. Correct the credentials\.$/],
    [refusal('SignatureDoesNotMatch'), /rejects the secret access key: .*Correct the credentials\.$/],
    [refusal('ExpiredToken'), /rejects the session token: it has expired\. Renew the credentials\.$/],
    [
      refusal('RequestTimeTooSkewed', { date: early }),
      /because of their time \(this clock is 20 minutes ahead\): set the clock of this machine, for example with NTP\.$/,
    ],
    [refusal('RequestTimeTooSkewed'), /because of their time: set the clock of this machine/],
    [refusal('AccessDenied'), /does not let these credentials put: allow s3:ListBucket/],
    [refusal('PermanentRedirect', { status: 301, region: 'us-2' }), /is not in the region eu-1: add region=us-2 to/],
    [refusal('QuotaExceeded'), /is full: make room, or raise its quota\.$/],
  ]
  for (const [reason, sentence] of refusals) {
    const { message, isFinal } = errorOfRefusal(target, 'put', reason)
    assert.match(message, sentence)
    assert.match(message, /^s3:\/\/models\/fleet [^\n]*$/)
    assert.equal(isFinal, true, reason.code)
  }
})

test('keys that cannot be read are trouble of the object store, which the operator can end while the program runs', async () => {
  using home = temporaryDirectory()
  const file = home.file('keys')
  const never = async () => assert.fail('It was tried again')
  using requests = new BucketRequests({ target, credentials: credentialsInFile(file), sleep: never })
  const { log, lines } = recordingLogger()
  const watch = new BucketWatch({ log, clock: new FakeClock() })
  const put = () => watch.during('put', () => requests.send({ method: 'PUT', action: 'put', key: 'object' }))
  await assert.rejects(put, { code: 'storage-unavailable', isFinal: true })
  const trouble =
    /^The object store s3:\/\/models\/fleet cannot be used: --storage-credentials-file: \S+ cannot be read \(/
  assert.match(watch.trouble ?? '', trouble)
  assert.match(lines.join('\n'), /cannot be read .*Until then large objects cannot be stored\.$/)
})

test('a busy server is tried again', () => {
  for (const reason of [refusal('SlowDown', { status: 503 }), refusal('', { status: 500 }), refusal('RequestTimeout')])
    assert.equal(errorOfRefusal(target, 'get', reason).isFinal, false)
})
