import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { errorText, UsageError } from '../base/errors.ts'
import { parseToml } from '../base/toml.ts'
import { parseAddress } from '../rpc/address.ts'
import { readSimulationOptions, type SimulationSettings } from './simulation-options.ts'

/** `config.toml`: the SuperLinks that this user connects to, by name. */
export interface FlowerConfig {
  readonly path: string
  /** Names in the order of the file. */
  readonly names: readonly string[]
  readonly defaultName: string | undefined
  readonly connections: ReadonlyMap<string, unknown>
}

/** One `[superlink.NAME]`, checked. Paths are absolute. */
export interface ConnectionProfile {
  readonly name: string
  /** Host and port; empty for `local`. */
  readonly address: string
  /** A SuperLink of this user on this machine that simulates runs and is started when needed; where its state is. */
  readonly local: 'disk' | 'memory' | undefined
  /** How runs over this connection are simulated (`options`). */
  readonly simulation: SimulationSettings | undefined
  readonly insecure: boolean
  readonly rootCertificates: string | undefined
  /** Certificate chain and key of this user, both or neither. */
  readonly clientCertificate: string | undefined
  readonly clientPrivateKey: string | undefined
  readonly federation: string | undefined
  /** The file and the table, for sentences about its keys. */
  readonly where: string
  readonly warnings: readonly string[]
}

/** Reads the file, and writes one with comments when there is none. `onCreated` is told its path. */
export function readFlowerConfig(home: string, onCreated: (path: string) => void = () => {}): FlowerConfig {
  const path = join(home, 'config.toml')
  const toml = parseConfig(path, readOrCreate(path, onCreated))
  const superlink = toml.superlink ?? {}
  if (!isTable(superlink)) throw new UsageError(`${path}: 'superlink' must be a table: write [superlink.NAME].`)
  const { default: defaultName, ...connections } = superlink
  if (defaultName !== undefined && typeof defaultName !== 'string')
    throw new UsageError(`${path}: 'default' in [superlink] must be the name of a connection, in quotes.`)
  return { path, names: Object.keys(connections), defaultName, connections: new Map(Object.entries(connections)) }
}

function readOrCreate(path: string, onCreated: (path: string) => void): string {
  try {
    if (!existsSync(path)) {
      mkdirSync(dirname(path), { recursive: true })
      // Another process may have been faster.
      writeFileSync(path, initialConfig, { mode: 0o600, flag: 'wx' })
      onCreated(path)
    }
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'EEXIST') return readFileSync(path, 'utf8')
    throw new UsageError(
      `${path} cannot be read or made (${code}): check its permissions, or set FLWR_HOME to another folder.`,
      { cause },
    )
  }
}

function parseConfig(path: string, text: string): Record<string, unknown> {
  try {
    return parseToml(text)
  } catch (error) {
    throw new UsageError(`${path} is not valid TOML (${errorText(error)}): correct or remove it.`)
  }
}

/** The connection of that name, or the default one. Only this one is checked: a broken sibling does no harm. */
export function findConnection(config: FlowerConfig, name: string | undefined): ConnectionProfile {
  const { path } = config
  const wanted = name ?? config.defaultName
  if (wanted === undefined)
    throw new UsageError(`${path} names no default connection: give one, or set 'default' in [superlink].`)
  const table = config.connections.get(wanted) ?? (localKinds.has(wanted) ? { address: wanted } : undefined)
  if (table !== undefined) return checkConnection(wanted, table, path)
  const known = config.names.length === 0 ? 'there are none' : `there are ${config.names.join(', ')}`
  if (/[./\\]/.test(wanted)) {
    throw new UsageError(`'${wanted}' is no connection in ${path}: give the name of one (${known}), not a folder.`)
  }
  const remedy =
    name === undefined
      ? `add a [superlink.${wanted}], or name another in 'default'`
      : `add a [superlink.${wanted}] with its address`
  throw new UsageError(`There is no connection '${wanted}' in ${path} (${known}): ${remedy}.`)
}

/** Addresses, and names, of the SuperLink that is started when needed. */
const localKinds: ReadonlyMap<string, ConnectionProfile['local']> = new Map([
  [':local:', 'disk'],
  [':local-in-memory:', 'memory'],
])

const knownKeys = [
  'address',
  'insecure',
  'root-certificates',
  'client-certificate',
  'client-private-key',
  'federation',
  'options',
  // Of older releases.
  'enable-account-auth',
]

function checkConnection(name: string, table: unknown, configPath: string): ConnectionProfile {
  const where = `${configPath}: [superlink.${name}]`
  const fail = (what: string): UsageError => new UsageError(`${where} ${what}.`)
  if (!isTable(table)) throw fail(`must be a table: write [superlink.${name}] on a line of its own`)
  const text = (key: string): string | undefined => {
    const value = table[key]
    if (value === undefined || (typeof value === 'string' && value !== '')) return value
    throw fail(`'${key}' must be a text in quotes, not ${value === '' ? 'empty' : tomlType(value)}`)
  }
  const path = (key: string): string | undefined => {
    const value = text(key)
    if (value === undefined || isAbsolute(value)) return value
    throw fail(`'${key}' must be an absolute path, not '${value}': write it from / on`)
  }
  const { insecure = false } = table
  if (insecure === 'true' || insecure === 'false')
    throw fail(`'insecure' must be true or false without quotes: write insecure = ${insecure}`)
  if (typeof insecure !== 'boolean') throw fail(`'insecure' must be true or false, not ${tomlType(insecure)}`)
  const federation = text('federation')
  if (federation !== undefined && !isFederationName(federation))
    throw fail(`'federation' must have the form @<account-name>/<federation-name>, not '${federation}'`)
  const warnings = Object.keys(table)
    .filter((key) => !knownKeys.includes(key))
    .map((key) => `${where} '${key}' is unknown and has no effect.`)
  const ineffective = (option: string): unknown => warnings.push(`${where} '${option}' is unknown and has no effect.`)
  const simulation = table.options === undefined ? undefined : readSimulationOptions(table.options, where, ineffective)
  // As in Flower, options alone stand for a simulation on this machine.
  const address = text('address') ?? (simulation ? ':local:' : undefined)
  const local = localKinds.get(address ?? '')
  const connection = {
    name,
    address: local ? '' : readAddress(address, where),
    local,
    simulation,
    insecure: insecure || local !== undefined,
    rootCertificates: path('root-certificates'),
    clientCertificate: path('client-certificate'),
    clientPrivateKey: path('client-private-key'),
    federation,
    where,
    warnings,
  }
  if (connection.local && (connection.rootCertificates || connection.clientCertificate))
    throw fail(`needs no certificates with address '${address}': remove them`)
  if (insecure && connection.rootCertificates)
    throw fail(`'insecure = true' and 'root-certificates' contradict each other: remove one of them`)
  if (insecure && (connection.clientCertificate || connection.clientPrivateKey))
    throw fail(`'client-certificate' needs TLS: remove 'insecure = true'`)
  if ((connection.clientCertificate === undefined) !== (connection.clientPrivateKey === undefined))
    throw fail(`needs both 'client-certificate' and 'client-private-key', or neither`)
  return connection
}

/** As gRPC reads it: without a port it is that of HTTPS. */
function readAddress(address: string | undefined, where: string): string {
  if (address === undefined) throw new UsageError(`${where} has no 'address': give HOST:PORT of the Control API.`)
  const complete = /^[^:/[\]]+$/.test(address) ? `${address}:443` : address
  parseAddress(complete, `${where} 'address'`)
  return complete
}

export function isFederationName(text: string): boolean {
  return /^@[a-zA-Z0-9\-_]+\/[a-zA-Z0-9\-_]+$/.test(text)
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

function tomlType(value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  if (value instanceof Date) return 'a date'
  return isTable(value) ? 'a table' : String(value)
}

const initialConfig = `# The SuperLinks that \`flwr\` connects to. Each is a [superlink.NAME]; \`flwr run APP NAME\` uses one by its name.

[superlink]
# Used when a command names no connection.
default = "local"

# Runs apps on this machine with virtual SuperNodes: nothing needs to be started for it.
[superlink.local]
address = ":local:"
options.num-supernodes = 10
# options.backend.client-resources.num-cpus = 1       # processors for each ClientApp: as many run at a time as there are

# A SuperLink on this machine, started with: flower-superlink --insecure
[superlink.local-deployment]
address = "127.0.0.1:9093"
insecure = true

# A SuperLink with TLS that asks for client certificates (paths must be absolute):
# [superlink.my-deployment]
# address = "superlink.example.org:9093"
# root-certificates = "/etc/flower/ca.crt"            # the CA of the SuperLink's certificate
# client-certificate = "/etc/flower/client.pem"       # your certificate and its key, when the SuperLink asks for one
# client-private-key = "/etc/flower/client.key"
# federation = "@none/default"                        # where runs go that name none
`
