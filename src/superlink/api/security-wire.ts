import type { MessageInitShape } from '@bufbuild/protobuf'
import { isoTimestamp } from '../../base/clock.ts'
import type { ShowSecurityResponseSchema } from '../../gen/flwr/proto/control_pb.ts'
import { refusalSentence } from '../../identity/refusal-sentence.ts'
import { type Account, isAdmin } from '../access/accounts.ts'
import type { SecurityView } from '../access/security-view.ts'

/** Certificates and lists are public in nature. Only admins see which peers were refused; other callers see how many, and why. */
export function securityToWire(
  security: SecurityView,
  account: Account,
  now: number,
): MessageInitShape<typeof ShowSecurityResponseSchema> {
  const { server, cas, crls } = security.certificates()
  const all = [...server.map((one) => ['own', one] as const), ...cas.map((one) => ['ca', one] as const)]
  return {
    certificates: all.map(([kind, { subject, notAfter }]) => ({
      kind,
      subject: subject.text,
      notAfter: notAfter / 1000,
    })),
    revocationLists: crls.map(({ issuerText, nextUpdate }) => ({ issuer: issuerText, nextUpdate: nextUpdate / 1000 })),
    refusals: security.listRefusals().map(({ reason, count, lastAt, identity, address }) => ({
      reason,
      count,
      lastAt: isoTimestamp(lastAt),
      sentence: refusalSentence(reason),
      ...(isAdmin(account) ? { identity, address } : {}),
    })),
    now: isoTimestamp(now),
  }
}
