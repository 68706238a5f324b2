import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { create, type DescMethod, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { buildFab } from '../../src/fab/bundle.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { fixedTlsSource } from '../../src/identity/tls-source.ts'
import { type Channel, createChannel } from '../../src/rpc/channel.ts'
import { Deployment } from './deployment.ts'
import { Measure, type measured } from './measured-program.ts'
import { joinFleet } from './mutual-tls.ts'
import { callRaw } from './raw-call.ts'

/** A SuperLink in a process of its own, a SuperNode, and the app of a run; all of them are this test. */
export class HostileTarget {
  readonly deployment: Deployment
  readonly measure: Measure
  readonly control: Channel
  readonly fleet: Channel
  readonly main: Channel
  readonly app: string
  readonly #certificate: { cert: string; key: string }
  readonly #ca: string
  readonly #plainAddress: string
  nodeId = 0n
  runId = 0n
  token = ''

  private constructor(deployment: Deployment, pair: { certificatePem: string; keyPem: string }, plainAddress: string) {
    const rootsPem = deployment.ca.issued.certificatePem
    const tls = fixedTlsSource({ rootsPem, certificate: { chainPem: pair.certificatePem, keyPem: pair.keyPem } })
    const open = (address: string): Channel => createChannel({ address, transport: 'grpc', component: 'test', tls })
    this.#ca = rootsPem
    this.#plainAddress = plainAddress
    this.deployment = deployment
    this.measure = new Measure(deployment.superlink)
    this.control = open(deployment.controlAddress)
    this.fleet = open(deployment.fleetAddress)
    this.main = open(deployment.mainAddress)
    this.app = deployment.writeApp({ server: '', client: '' })
    this.#certificate = { cert: pair.certificatePem, key: pair.keyPem }
  }

  static async start(stack: AsyncDisposableStack, superlinkEnvironment: typeof measured): Promise<HostileTarget> {
    const superlinkArguments = ['--isolation', 'process', '--serverappio-api-address', '127.0.0.1:0']
    const deployment = stack.use(await Deployment.create({ mutualTls: true, superlinkArguments, superlinkEnvironment }))
    const [, plainAddress = ''] = await deployment.superlink.line(/Starting ServerAppIo API on (\S+)/)
    const target = new HostileTarget(deployment, (await deployment.ca.issue('good')).issued, plainAddress)
    for (const channel of [target.control, target.fleet, target.main]) stack.use(channel)
    target.nodeId = await joinFleet(target.fleet)
    await target.startRun()
    return target
  }

  get headers(): Record<string, string> {
    return { 'flwr-task-token': this.token, 'flwr-app-token': this.token, 'trellis-wait-ms': '0' }
  }

  /** Starts a run, whose app is this test from here on. */
  async startRun(content = buildFab(this.app).bytes): Promise<void> {
    this.runId = (await this.control.call(Control.method.startRun, { fab: { content } })).message.runId ?? 0n
    await this.launch()
  }

  async launch(): Promise<void> {
    const types = { supportedTaskTypes: ['flwr-serverapp'] }
    this.token = (await this.main.call(Runtime.method.acquireTask, types)).message.token
    await this.main.call(Runtime.method.pullTaskInput, {}, { headers: this.headers })
  }

  /** Calls a method with these bytes; returns how it ended. */
  call(method: DescMethod, body: Uint8Array, options: CallOptions): Promise<string> {
    const { door = 'http', known = true, port = 'main' } = options
    return callRaw(door, {
      ...{ address: this.#addressOf(port), ca: port === 'plain' ? undefined : this.#ca, method, body },
      certificate: known === true ? this.#certificate : undefined,
      headers: known ? this.headers : { 'trellis-wait-ms': '0' },
    })
  }

  #addressOf(port: Port): string {
    const { mainAddress, fleetAddress, controlAddress } = this.deployment
    return { main: mainAddress, fleet: fleetAddress, control: controlAddress, plain: this.#plainAddress }[port]
  }

  /** Calls a method so many times over one connection, and never reads the responses. */
  callUnread<M extends DescMethod>(method: M, init: MessageInitShape<M['input']>, times: number): ClientHttp2Session {
    const session = connectHttp2(`https://${this.deployment.mainAddress}`, { ca: this.#ca, ...this.#certificate })
    session.on('error', () => {})
    const body = encoded(method, init)
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(body.length, 1)
    for (let count = 0; count < times; count++) {
      const stream = session.request({
        ...{ ':method': 'POST', ':path': `/${method.parent.typeName}/${method.name}` },
        ...{ 'content-type': 'application/grpc', te: 'trailers', ...this.headers },
      })
      stream.on('error', () => {})
      stream.end(Buffer.concat([prefix, body]))
    }
    return session
  }

  request<M extends DescMethod>(
    method: M,
    init: MessageInitShape<M['input']>,
    options: CallOptions = {},
  ): Promise<string> {
    return this.call(method, encoded(method, init), options)
  }
}

export type Port = 'main' | 'fleet' | 'control' | 'plain'

export interface CallOptions {
  readonly door?: 'grpc' | 'http'
  /** Whether the caller has a certificate and the token of the app, or the token alone. */
  readonly known?: boolean | 'token'
  readonly port?: Port
}

export function encoded<M extends DescMethod>(method: M, init: MessageInitShape<M['input']>): Uint8Array {
  return toBinary(method.input, create(method.input, init as never))
}
