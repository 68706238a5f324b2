import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import type { ClientTlsFiles } from '../identity/tls-files.ts'
import { ReplaceableTlsSource } from '../identity/tls-source.ts'
import { type CallOptions, type Client, createChannel, createClient } from '../rpc/channel.ts'
import type { ChannelTls } from '../rpc/dial.ts'
import type { CliContext } from './command.ts'
import { type ConnectionProfile, findConnection, readFlowerConfig } from './flower-config.ts'
import { flwrHome, programsFingerprint } from './home.ts'
import { ensureLocalSuperlink } from './local-superlink.ts'
import type { Output } from './output.ts'

export type ControlClient = Client<typeof Control>

export interface OpenControl extends Disposable {
  readonly connection: ConnectionProfile
  /** Its calls end with the command. */
  readonly client: ControlClient
  /** The log of the SuperLink, where that is a local one. */
  readonly localLog: string | undefined
  /** From now on a renewed certificate is used, until disposed: for commands that last. */
  watchFiles(): Promise<AsyncDisposable>
}

/** Opens the Control API of a connection in `config.toml`; the SuperLink of a local one is started when it is not there. */
export async function openControl(context: CliContext, name: string | undefined, output: Output): Promise<OpenControl> {
  const config = readFlowerConfig(flwrHome(), (path) => output.note(`Wrote ${path}, which names your SuperLinks.`))
  const connection = findConnection(config, name)
  const { tls, warnings, watchFiles } = await readTls(connection, output)
  for (const warning of [...connection.warnings, ...warnings]) output.note(`Warning: ${warning}`)
  const local = connection.local
    ? await ensureLocalSuperlink({
        home: flwrHome(),
        kind: connection.local,
        programs: programsFingerprint(),
        signal: context.signal,
        output,
      })
    : undefined
  const channel = createChannel({
    address: local?.address ?? connection.address,
    tls,
    component: 'flwr CLI',
    headers: local?.headers ?? {},
  })
  return {
    connection,
    localLog: local?.log,
    client: withSignal(createClient(Control, channel), context.signal),
    watchFiles,
    [Symbol.dispose]: () => channel.close(),
  }
}

async function readTls(
  connection: ConnectionProfile,
  output: Output,
): Promise<{ tls: ChannelTls; warnings: readonly string[]; watchFiles: OpenControl['watchFiles'] }> {
  if (connection.insecure) return { tls: 'insecure', warnings: [], watchFiles: async () => new AsyncDisposableStack() }
  const file = (key: string, path: string | undefined) =>
    path === undefined ? undefined : { flag: `${connection.where} ${key}`, path }
  const files: ClientTlsFiles = {
    roots: file('root-certificates', connection.rootCertificates),
    certfile: file('client-certificate', connection.clientCertificate),
    keyfile: file('client-private-key', connection.clientPrivateKey),
  }
  // Loaded here, because a connection without TLS needs none of it.
  const { readAtStart, readClientTls } = await import('../identity/tls-files.ts')
  const { material, warnings } = readAtStart(files, () => readClientTls({ ...files, now: Date.now() }))
  const tls = new ReplaceableTlsSource(material)
  const log = { ...silentLogger, warn: (message: string) => output.note(`Warning: ${message}`) }
  const watchFiles = async (): Promise<AsyncDisposable> => {
    const { openClientTls } = await import('../identity/tls-reload.ts')
    const set = await openClientTls('client certificate', files, { clock: systemClock, log, leavesHangup: true })
    set.subscribe(() => tls.replace(set.current().material))
    return set
  }
  return { tls, warnings, watchFiles }
}

/** How long a SuperLink may take for an answer; an app of many megabytes is sent in that time too. */
const answerMs = 120_000

/** Calls end with the command; those that have one answer do not wait for it for ever. */
function withSignal(client: ControlClient, signal: AbortSignal): ControlClient {
  const calls = Object.entries(client) as [keyof ControlClient, (request: unknown, options?: CallOptions) => unknown][]
  return Object.fromEntries(
    calls.map(([name, call]) => {
      const defaults: CallOptions =
        Control.method[name].methodKind === 'unary' ? { signal, timeoutMs: answerMs } : { signal }
      return [name, (request: unknown, options?: CallOptions) => call(request, { ...defaults, ...options })]
    }),
  ) as ControlClient
}
