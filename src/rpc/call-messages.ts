import { create, type DescMethod, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { contentOf, followedBy, type Outgoing } from './outgoing.ts'
import { RpcError } from './rpc-error.ts'

/** A request with the content that follows its other fields. */
export function encodeRequest({ input }: DescMethod, request: unknown): Outgoing {
  const message = toBinary(input, create(input, request as MessageInitShape<typeof input>))
  const content = contentOf(request)
  return content ? followedBy([message], input, content) : [message]
}

/** Throws an RpcError for bytes that are no response of the method. */
export function decodeResponse(method: DescMethod, body: Uint8Array): unknown {
  try {
    return fromBinary(method.output, body)
  } catch (cause) {
    throw new RpcError('internal', `The server's answer to ${method.name} is not a ${method.output.name}.`, {
      kind: 'protocol',
      cause,
    })
  }
}
