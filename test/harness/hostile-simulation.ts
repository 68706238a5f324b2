import type { DescMethod } from '@bufbuild/protobuf'
import { buildFab } from '../../src/fab/bundle.ts'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { Runtime } from '../../src/gen/flwr/proto/runtime_pb.ts'
import { type Channel, createChannel } from '../../src/rpc/channel.ts'
import { temporaryDirectory } from './directory.ts'
import { Measure, measured } from './measured-program.ts'
import { start } from './program.ts'
import { callRaw } from './raw-call.ts'
import { instructionTo } from './two-runs.ts'
import { writeApp } from './write-app.ts'

const noWait = { 'trellis-wait-ms': '0' }
/** In the name of the SuperLink. */
const node = { nodeId: 1n }

/** The port of a simulation, as `flwr run` starts it: without TLS, on this machine. All apps are this test. */
export class HostileSimulation {
  readonly measure: Measure
  readonly #address: string
  readonly #apps: Channel
  readonly #serverApp: Readonly<Record<string, string>>
  readonly #run: { readonly runId: bigint; readonly nodeId: bigint }
  #clientApp: Readonly<Record<string, string>> | undefined
  #messages = 0

  private constructor(
    measure: Measure,
    apps: { readonly address: string; readonly channel: Channel },
    serverApp: Readonly<Record<string, string>>,
    run: { readonly runId: bigint; readonly nodeId: bigint },
  ) {
    this.measure = measure
    this.#address = apps.address
    this.#apps = apps.channel
    this.#serverApp = serverApp
    this.#run = run
  }

  static async start(stack: AsyncDisposableStack): Promise<HostileSimulation> {
    const directory = stack.use(temporaryDirectory())
    const ports = ['--control-api-address', '127.0.0.1:0', '--port', '0']
    const options = { env: measured, cwd: directory.path }
    const program = stack.use(
      start('flower-superlink', ['--insecure', '--simulation', '--isolation', 'process', ...ports], options),
    )
    const open = async (name: string): Promise<{ address: string; channel: Channel }> => {
      const [, address = ''] = await program.line(new RegExp(`Starting ${name} on (\\S+)`))
      const channel = createChannel({ address, transport: 'grpc', component: 'test', tls: 'insecure' })
      return { address, channel: stack.use(channel) }
    }
    const control = await open('Control API')
    const apps = await open('API')
    const fab = { content: buildFab(writeApp(directory.file('app'), { server: '', client: '' })).bytes }
    const { runId = 0n } = (await control.channel.call(Control.method.startRun, { fab })).message
    const headers = await takeTask(apps.channel, 'flwr-serverapp')
    const [first] = (await apps.channel.call(Runtime.method.getNodes, { runId }, { headers })).message.nodes
    const run = { runId, nodeId: first?.nodeId ?? 0n }
    return new HostileSimulation(new Measure(program), apps, headers, run)
  }

  /** Becomes the ClientApp of a new message. */
  async startClientApp(): Promise<void> {
    const { method } = Runtime
    const ended = { subStatus: 'failed' }
    // Its last task may have ended already.
    if (this.#clientApp)
      await this.#apps.call(method.pushTaskOutput, ended, { headers: this.#clientApp }).catch(() => {})
    const { runId, nodeId } = this.#run
    const headers = this.#serverApp
    // Its lease would end on a busy machine.
    await this.#apps.call(method.sendTaskHeartbeat, {}, { headers })
    this.#messages += 1
    const { wire, tree, objects } = instructionTo(nodeId, runId, this.#messages)
    await this.#apps.call(method.pushMessages, { messagesList: [wire], messageObjectTrees: [tree] }, { headers })
    for (const [objectId, read] of objects)
      await this.#apps.call(method.pushObject, { node, runId, objectId, objectContent: read() }, { headers })
    this.#clientApp = await takeTask(this.#apps, 'flwr-clientapp')
  }

  /** Calls a method with these bytes, as the ClientApp if it is known; returns how the call ended. */
  call(
    method: DescMethod,
    body: Uint8Array,
    { known, door }: { known: boolean; door: 'grpc' | 'http' },
  ): Promise<string> {
    const headers = known ? { ...this.#clientApp, ...noWait } : noWait
    return callRaw(door, { address: this.#address, ca: undefined, method, body, headers })
  }
}

/** Takes a task as a SuperExec and its app do, and returns the headers of the app. */
async function takeTask(apps: Channel, type: string): Promise<Record<string, string>> {
  const { token } = (await apps.call(Runtime.method.acquireTask, { supportedTaskTypes: [type] })).message
  const headers = { 'flwr-task-token': token, 'flwr-app-token': token }
  await apps.call(Runtime.method.pullTaskInput, {}, { headers })
  return headers
}
