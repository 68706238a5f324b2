import { type Clock, systemClock } from '../../src/base/clock.ts'
import { type Logger, silentLogger } from '../../src/base/log.ts'
import { Fleet } from '../../src/gen/flwr/proto/fleet_pb.ts'
import { generateNodeKey } from '../../src/identity/node-key.ts'
import { fixedTlsSource } from '../../src/identity/tls-source.ts'
import { formatAddress, loopbackAddress } from '../../src/rpc/address.ts'
import { type Channel, createChannel, RpcError } from '../../src/rpc/channel.ts'
import { type Superlink, startSuperlink } from '../../src/superlink/compose.ts'
import { parseSuperlinkConfig } from '../../src/superlink/config.ts'
import { TestCa } from './certificates.ts'
import { temporaryDirectory } from './directory.ts'

/** A SuperLink in this process that requires certificates, and channels to it. */
export class MutualTlsSuperlink implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack
  readonly superlink: Superlink
  readonly ca: TestCa
  readonly file: (name: string) => string

  private constructor(stack: AsyncDisposableStack, superlink: Superlink, ca: TestCa, file: (name: string) => string) {
    this.#stack = stack
    this.superlink = superlink
    this.ca = ca
    this.file = file
  }

  static async start(
    args: (file: (name: string) => string, ca: TestCa) => readonly string[] | Promise<readonly string[]> = () => [],
    log: Logger = silentLogger,
    clock: Clock = systemClock,
  ): Promise<MutualTlsSuperlink> {
    await using stack = new AsyncDisposableStack()
    const { path, file } = stack.use(temporaryDirectory())
    const ca = await TestCa.create(path)
    const { certfile, keyfile } = await ca.server()
    const config = parseSuperlinkConfig([
      ...['--ssl-certfile', certfile, '--ssl-keyfile', keyfile, '--ssl-ca-certfile', ca.certfile],
      ...['--ssl-require-client-auth', '--isolation', 'process', '--audit-log', file('audit.jsonl')],
      ...['--fleet-api-address', '127.0.0.1:0', '--control-api-address', '127.0.0.1:0', '--port', '0'],
      ...(await args(file, ca)),
    ])
    if (!config) throw new Error('No configuration')
    const superlink = stack.use(await startSuperlink(config, log, { clock }))
    return new MutualTlsSuperlink(stack.move(), superlink, ca, file)
  }

  /** A channel of a client with this pair, or with none. */
  connect(
    listener: 'fleet' | 'control' | 'main',
    issued: { certificatePem: string; keyPem: string } | undefined,
    transport: 'grpc' | 'http' = 'grpc',
    headers: Readonly<Record<string, string>> = {},
  ): Channel {
    const tls = fixedTlsSource({
      rootsPem: this.ca.issued.certificatePem,
      ...(issued ? { certificate: { chainPem: issued.certificatePem, keyPem: issued.keyPem } } : {}),
    })
    const address = formatAddress(loopbackAddress(this.superlink[listener].address))
    return this.#stack.use(createChannel({ address, tls, transport, component: 'test', headers }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

/** A public key as SuperNodes send it beside their certificate. */
export const somePublicKey: Uint8Array = generateNodeKey().publicKeyPem

/** Joins the fleet as a SuperNode does; returns the node id. */
export async function joinFleet(channel: Channel): Promise<bigint> {
  // Ten minutes: it sends no heartbeats, and stays online however slow the machine is.
  const request = { publicKey: somePublicKey, heartbeatInterval: 600 }
  return (await channel.call(Fleet.method.activateNode, request)).message.nodeId
}

/** Why a call is refused; a sentence when it is not. */
export async function refusalOf(call: Promise<unknown>): Promise<string> {
  const error: unknown = await call.then(
    () => new Error('it was answered'),
    (thrown: unknown) => thrown,
  )
  return error instanceof RpcError ? (error.refusalReason ?? error.message) : String(error)
}
