import { type DescMethodUnary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { systemClock } from '../base/clock.ts'
import { signSuperexecCall } from '../identity/superexec-signature.ts'

/** Proves to a server that the caller knows the secret of its SuperExecs; nothing where there is none. */
export function superexecHeaders<I extends DescMethodUnary['input']>(
  secret: Uint8Array | undefined,
  method: DescMethodUnary<I>,
  request: MessageShape<I>,
): Record<string, string> {
  if (!secret) return {}
  const path = `/${method.parent.typeName}/${method.name}`
  const signed = signSuperexecCall(secret, path, toBinary(method.input, request), systemClock.now())
  return {
    'flwr-superexec-ts': signed.timestamp,
    'flwr-superexec-nonce': signed.nonce,
    'flwr-superexec-body-sha256': signed.bodySha256,
    'flwr-superexec-signature': signed.signature,
  }
}
