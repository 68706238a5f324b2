import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/**
 * The shared secret between a SuperLink (or SuperNode) and a SuperExec of its own: an HMAC over method, time, nonce and
 * body of the calls by which work is acquired.
 */
export interface SuperexecHeaders {
  readonly timestamp: string
  readonly nonce: string
  readonly bodySha256: string
  readonly signature: string
}

export function signSuperexecCall(
  secret: Uint8Array,
  method: string,
  body: Uint8Array,
  nowMs: number,
  nonce = randomBytes(16).toString('hex'),
): SuperexecHeaders {
  const timestamp = String(Math.floor(nowMs / 1000))
  const bodySha256 = createHash('sha256').update(body).digest('hex')
  return { timestamp, nonce, bodySha256, signature: signature(secret, method, timestamp, nonce, bodySha256) }
}

/** Whether signature, body and time are right. The nonce is for the caller to spend, once this has answered true. */
export function isSuperexecSignature(
  secret: Uint8Array,
  method: string,
  body: Uint8Array,
  headers: SuperexecHeaders,
  nowMs: number,
): boolean {
  if (!/^\d{1,12}$/.test(headers.timestamp)) return false
  const ageSeconds = nowMs / 1000 - Number(headers.timestamp)
  if (!(ageSeconds > -5 && ageSeconds < 305)) return false
  const bodySha256 = createHash('sha256').update(body).digest('hex')
  const expected = signature(secret, method, headers.timestamp, headers.nonce, bodySha256)
  return bodySha256 === headers.bodySha256 && equal(expected, headers.signature)
}

function signature(secret: Uint8Array, method: string, timestamp: string, nonce: string, bodySha256: string): string {
  const key = createHmac('sha256', secret).update('superexec-auth-v1').digest()
  const text = `method=${method}\nts=${timestamp}\nnonce=${nonce}\nbody_sha256=${bodySha256}`
  return createHmac('sha256', key).update(text).digest('hex')
}

function equal(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)]
  return a.length === b.length && timingSafeEqual(a, b)
}
