import { type DescMethod, fromBinary, type Message, toBinary } from '@bufbuild/protobuf'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { formatAddress, loopbackAddress } from '../../src/rpc/address.ts'
import type { MutualTlsSuperlink } from './mutual-tls.ts'
import { post } from './raw-call.ts'

export function appIoClient({ superlink, ca }: MutualTlsSuperlink, token: string): AppIoClient {
  const address = formatAddress(loopbackAddress(superlink.main.address))
  return new AppIoClient({ address, rootsPem: ca.issued.certificatePem, token })
}

/** Calls ServerAppIo or ClientAppIo as an app process of Flower 1.29 does: over gRPC, without naming its release. */
export class AppIoClient implements Disposable {
  readonly #client: Client
  readonly #token: string

  constructor(options: { address: string; rootsPem: string; token: string }) {
    this.#client = new Client(options.address, credentials.createSsl(Buffer.from(options.rootsPem)), {
      'grpc.ssl_target_name_override': 'localhost',
    })
    this.#token = options.token
  }

  /** Rejects with the sentence of the server. */
  call(method: DescMethod, request: Message): Promise<Message> {
    const metadata = new Metadata()
    metadata.set('flwr-app-token', this.#token)
    metadata.set('trellis-wait-ms', '0')
    const path = `/${method.parent.typeName}/${method.name}`
    const encode = (message: Message): Buffer => Buffer.from(toBinary(method.input, message))
    const decode = (bytes: Buffer): Message => fromBinary(method.output, bytes)
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(path, encode, decode, request, metadata, (error, response) => {
        if (!error) return resolve(response as Message)
        const [reason] = error.metadata.get('trellis-refusal-reason')
        reject(new Error(reason === undefined ? error.details : String(reason)))
      })
    })
  }

  [Symbol.dispose](): void {
    this.#client.close()
  }
}

/** The same app at the door for HTTP. */
export function appIoOverHttp({ superlink, ca }: MutualTlsSuperlink, token: string): Pick<AppIoClient, 'call'> {
  const address = formatAddress(loopbackAddress(superlink.main.address))
  return {
    async call(method, request) {
      const headers = { 'flwr-app-token': token, 'trellis-wait-ms': '0' }
      const body = toBinary(method.input, request)
      const outcome = await post({ address, ca: ca.issued.certificatePem, method, body, headers })
      if (outcome === 'closed') throw new Error('The connection was closed.')
      if (outcome.status === 200) return fromBinary(method.output, outcome.body)
      const { detail } = JSON.parse(outcome.body.toString()) as { detail: { message?: string } | string }
      throw new Error(outcome.refusal ?? (typeof detail === 'string' ? detail : detail.message))
    },
  }
}
