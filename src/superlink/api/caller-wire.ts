import type { MessageInitShape } from '@bufbuild/protobuf'
import { isoTimestamp } from '../../base/clock.ts'
import type { ShowCallerResponseSchema } from '../../gen/flwr/proto/control_pb.ts'
import type { Account } from '../access/accounts.ts'

/** Describes the caller to itself. Without certificates all callers are one account, which sees every run. */
export function callerToWire(
  { name, organization, certificate }: Account,
  now: number,
): MessageInitShape<typeof ShowCallerResponseSchema> {
  const common = { accountName: name, organization, now: isoTimestamp(now) }
  if (!certificate) return { ...common, authMethod: 'none', roles: ['cli', 'admin'], runScope: 'all' }
  return {
    ...common,
    authMethod: 'certificate',
    roles: [...certificate.roles],
    runScope: certificate.runs ?? 'own',
    certificateSerial: certificate.serial,
    certificateNotAfter: certificate.notAfter / 1000,
  }
}
