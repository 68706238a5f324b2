import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { parse } from 'smol-toml'
import { errorText, UsageError } from '../base/errors.ts'

/** `config.toml`: the SuperLinks that this user connects to, by name. */
export interface FlowerConfig {
  readonly path: string
  /** Names in the order of the file. */
  readonly names: readonly string[]
  readonly defaultName: string | undefined
  readonly connections: Readonly<Record<string, unknown>>
}

/** One `[superlink.NAME]`, checked. Paths are absolute. */
export interface Connection {
  readonly name: string
  readonly address: string
  readonly insecure: boolean
  readonly rootCertificates: string | undefined
  /** Certificate chain and key of this user, both or neither. */
  readonly clientCertificate: string | undefined
  readonly clientPrivateKey: string | undefined
  readonly federation: string | undefined
  readonly configPath: string
}

/** Reads the file, and writes one with comments when there is none. `onCreated` is told its path. */
export function readFlowerConfig(home: string, onCreated: (path: string) => void = () => {}): FlowerConfig {
  const path = join(home, 'config.toml')
  if (!existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, initialConfig, { mode: 0o600 })
    onCreated(path)
  }
  let toml: Record<string, unknown>
  try {
    toml = parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  } catch (error) {
    throw new UsageError(`${path} is not valid TOML (${errorText(error).split('\n')[0]}): correct or remove it.`)
  }
  const superlink = toml.superlink ?? {}
  if (!isTable(superlink)) throw new UsageError(`${path}: [superlink] must be a table.`)
  const { default: defaultName, ...connections } = superlink
  if (defaultName !== undefined && typeof defaultName !== 'string')
    throw new UsageError(`${path}: 'default' in [superlink] must be the name of a connection.`)
  return { path, names: Object.keys(connections), defaultName, connections }
}

/** The connection of that name, or the default one. Only this one is checked: a broken sibling does no harm. */
export function findConnection(config: FlowerConfig, name: string | undefined): Connection {
  const { path } = config
  const wanted = name ?? config.defaultName
  if (wanted === undefined)
    throw new UsageError(`${path} names no default connection: give one, or set 'default' in [superlink].`)
  const table = config.connections[wanted]
  if (table === undefined) {
    const known = config.names.length === 0 ? 'there are none' : `known are ${config.names.join(', ')}`
    throw new UsageError(
      `There is no connection '${wanted}' in ${path} (${known}): add a [superlink.${wanted}] with its address.`,
    )
  }
  return checkConnection(wanted, table, path)
}

function checkConnection(name: string, table: unknown, configPath: string): Connection {
  const fail = (what: string): UsageError => new UsageError(`${configPath}: [superlink.${name}] ${what}.`)
  if (!isTable(table)) throw fail('must be a table')
  const text = (key: string): string | undefined => {
    const value = table[key]
    if (value === undefined || typeof value === 'string') return value
    throw fail(`'${key}' must be a text, not ${typeof value}`)
  }
  const path = (key: string): string | undefined => {
    const value = text(key)
    if (value !== undefined && !isAbsolute(value)) throw fail(`'${key}' must be an absolute path, not '${value}'`)
    return value
  }
  const { insecure = false } = table
  if (typeof insecure !== 'boolean') throw fail(`'insecure' must be true or false`)
  const address = text('address')
  if (address === undefined) throw fail(`has no 'address': give HOST:PORT of the Control API`)
  if (address === ':local:' || address === ':local-in-memory:')
    throw fail(
      `stands for a local simulation, which this release does not run: start flower-superlink and give its address, e.g. "127.0.0.1:9093"`,
    )
  const federation = text('federation')
  if (federation !== undefined && !isFederationName(federation))
    throw fail(`'federation' must have the form @<account-name>/<federation-name>`)
  const connection = {
    name,
    address,
    insecure,
    rootCertificates: path('root-certificates'),
    clientCertificate: path('client-certificate'),
    clientPrivateKey: path('client-private-key'),
    federation,
    configPath,
  }
  if (insecure && connection.rootCertificates)
    throw fail(`'insecure = true' and 'root-certificates' contradict each other`)
  if (insecure && connection.clientCertificate) throw fail(`'client-certificate' needs TLS: remove 'insecure = true'`)
  if ((connection.clientCertificate === undefined) !== (connection.clientPrivateKey === undefined))
    throw fail(`needs both 'client-certificate' and 'client-private-key', or neither`)
  return connection
}

export function isFederationName(text: string): boolean {
  return /^@[a-zA-Z0-9\-_]+\/[a-zA-Z0-9\-_]+$/.test(text)
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const initialConfig = `# The SuperLinks that \`flwr\` connects to. Each is a [superlink.NAME]; \`flwr run APP NAME\` uses one by its name.

[superlink]
# Used when a command names no connection.
default = "local"

# A SuperLink on this machine, started with: flower-superlink --insecure
[superlink.local]
address = "127.0.0.1:9093"
insecure = true

# A SuperLink with TLS that asks for client certificates (paths must be absolute):
# [superlink.my-deployment]
# address = "superlink.example.org:9093"
# root-certificates = "/etc/flower/ca.crt"            # the CA of the SuperLink's certificate
# client-certificate = "/etc/flower/client.pem"       # your certificate and its key, when the SuperLink asks for one
# client-private-key = "/etc/flower/client.key"
`
