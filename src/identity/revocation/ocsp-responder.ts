import { randomBytes } from 'node:crypto'
import { fetchBounded } from '../../base/bounded-fetch.ts'
import { errorText } from '../../base/errors.ts'
import type { Certificate } from '../certificate.ts'
import {
  type CertIdDigest,
  malformedRequest,
  type OcspAnswer,
  OcspRefusal,
  ocspRequest,
  readOcspResponse,
  unauthorized,
} from './ocsp.ts'

/** Puts a question to a responder. */
export interface OcspAsk {
  readonly url: string
  readonly certificate: Certificate
  readonly issuer: Certificate
  readonly isRevoked?: (responder: Certificate) => boolean
  readonly now: () => number
  readonly deadlineMs: number
}

/** The responder cannot be reached, or cannot answer now. */
export class SilentResponder extends Error {}

interface Manner {
  readonly digest: CertIdDigest
  readonly hasNonce: boolean
}

/**
 * Asks a responder of which nothing is known: as most understand it first, then as the others do. Returns the response and
 * its bytes; rejects with an Error that says why there is none to be believed.
 */
export async function askResponder(ask: OcspAsk): Promise<{ answer: OcspAnswer; der: Uint8Array }> {
  const endsAt = performance.now() + ask.deadlineMs
  const once = (manner: Manner): ReturnType<typeof askOnce> =>
    askOnce(ask, manner, Math.max(1, Math.ceil(endsAt - performance.now())))
  let first: Awaited<ReturnType<typeof askOnce>>
  try {
    first = await once({ digest: 'sha1', hasNonce: true })
  } catch (error) {
    if (!(error instanceof OcspRefusal)) throw error
    if (error.status === malformedRequest) return once({ digest: 'sha1', hasNonce: false })
    if (error.status === unauthorized) return once({ digest: 'sha256', hasNonce: true })
    throw error
  }
  if (first.answer.status !== 'unknown') return first
  // Some keep their certificates by the other digest, and do not know them by this one.
  return once({ digest: 'sha256', hasNonce: true }).catch(() => first)
}

async function askOnce(
  { url, certificate, issuer, isRevoked, now }: OcspAsk,
  { digest, hasNonce }: Manner,
  deadlineMs: number,
): Promise<{ answer: OcspAnswer; der: Uint8Array }> {
  const nonce = hasNonce ? randomBytes(nonceBytes) : undefined
  const request = ocspRequest(certificate, issuer, { digest, ...(nonce ? { nonce } : {}) })
  const body = { type: 'application/ocsp-request', bytes: request }
  const { status, bytes } = await fetchBounded({ url, body, bytesMax: responseBytesMax, deadlineMs }).catch((cause) => {
    throw new SilentResponder(errorText(cause), { cause })
  })
  if (status >= 500) throw new SilentResponder(`answers with status ${status}`)
  if (status !== 200) throw new Error(`answers with status ${status}`)
  const question = { certificate, issuer, now: now(), ...(nonce ? { nonce } : {}), ...(isRevoked ? { isRevoked } : {}) }
  try {
    return { answer: readOcspResponse(bytes, question), der: bytes }
  } catch (error) {
    if (error instanceof OcspRefusal) throw error
    throw new Error(`sent an answer that is not believed: ${errorText(error)}`, { cause: error })
  }
}

/** Until when an answer counts; one that does not say how long it is good is for the moment. */
export function goodUntilOf({ nextUpdate }: OcspAnswer, now: number): number {
  return nextUpdate ?? now + momentMs
}

const momentMs = 5 * 60_000

/** RFC 9654 section 2.1. */
const nonceBytes = 32
const responseBytesMax = 256 * 1024
