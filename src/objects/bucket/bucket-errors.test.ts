import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorOfRefusal } from './bucket-errors.ts'
import { parseBucketUrl } from './bucket-target.ts'

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

test('a busy server is tried again', () => {
  for (const reason of [refusal('SlowDown', { status: 503 }), refusal('', { status: 500 }), refusal('RequestTimeout')])
    assert.equal(errorOfRefusal(target, 'get', reason).isFinal, false)
})
