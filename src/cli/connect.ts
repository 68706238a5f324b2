import { UsageError } from '../base/errors.ts'
import { Control } from '../gen/flwr/proto/control_pb.ts'
import { readClientTls } from '../identity/tls-files.ts'
import { fixedTlsSource } from '../identity/tls-source.ts'
import { type Client, createChannel, createClient, RpcError } from '../rpc/channel.ts'
import type { ChannelTls } from '../rpc/dial.ts'
import { type Connection, findConnection, readFlowerConfig } from './flower-config.ts'
import { flwrHome } from './home.ts'

export type ControlClient = Client<typeof Control>

export interface OpenControl extends Disposable {
  readonly connection: Connection
  readonly client: ControlClient
  /** What the user should know, e.g. that a key is readable by everybody. */
  readonly warnings: readonly string[]
}

/** Opens the Control API of a connection in `config.toml`. Nothing is sent yet. */
export function openControl(name: string | undefined, onNotice: (text: string) => void): OpenControl {
  const config = readFlowerConfig(flwrHome(), (path) =>
    onNotice(`Flower configuration not found. Created default configuration at ${path}`),
  )
  const connection = findConnection(config, name)
  const { tls, warnings } = readTls(connection)
  const channel = createChannel({ address: connection.address, tls, component: 'flwr' })
  return {
    connection,
    client: createClient(Control, channel),
    warnings,
    [Symbol.dispose]: () => channel.close(),
  }
}

function readTls(connection: Connection): { tls: ChannelTls; warnings: readonly string[] } {
  if (connection.insecure) return { tls: 'insecure', warnings: [] }
  const file = (key: string, path: string | undefined) =>
    path === undefined ? undefined : { flag: `${key} of [superlink.${connection.name}]`, path }
  const { material, warnings } = readClientTls({
    roots: file('root-certificates', connection.rootCertificates),
    certfile: file('client-certificate', connection.clientCertificate),
    keyfile: file('client-private-key', connection.clientPrivateKey),
    now: Date.now(),
  })
  return { tls: fixedTlsSource(material), warnings }
}

/** What a failed call means for the person at the keyboard, in one sentence. */
export function explainRpcError(error: unknown): unknown {
  if (!(error instanceof RpcError)) return error
  return new UsageError(sentenceOf(error), { cause: error })
}

function sentenceOf(error: RpcError): string {
  const { message, status } = error
  if (error.kind !== 'peer' || error.refusalReason !== undefined) return message
  if (status === 'not-found' && /^Run ID not found/.test(message)) return 'The run was not found: see flwr ls.'
  if (status === 'not-found' && /^Node ID not found/.test(message))
    return 'The SuperNode was not found, or belongs to another account: see flwr supernode ls.'
  if (/^Public key already in use/.test(message)) return 'The public key is already in use by another SuperNode.'
  if (/^The provided public key is not valid/.test(message))
    return 'The public key is not valid: give an elliptic-curve key of a NIST curve.'
  if (/ControlServicer initialized without account authentication/.test(message))
    return 'Account authentication is not enabled on this SuperLink.'
  if (/ControlServicer initialized without artifact provider/.test(message))
    return 'This SuperLink does not support flwr pull.'
  if (status === 'unauthenticated') return `Authentication failed: ${message}`
  if (status === 'permission-denied') return `Permission denied.\n${message}`
  return message
}
