import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { errorText, UsageError } from '../../base/errors.ts'

/** A PostgreSQL database as `--database postgres://…` names it. It holds no secret: these are read at each connection. */
export interface PostgresTarget {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly tls: TlsSettings | undefined
  /** File with the password: alone, or in the lines of a `.pgpass`. */
  readonly passfile: string | undefined
  /** From the environment. */
  readonly password: string | undefined
  /** How messages name it. */
  readonly label: string
}

interface TlsSettings {
  readonly mode: 'require' | 'verify-ca' | 'verify-full'
  readonly caFile: string | undefined
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
}

export function isPostgresUrl(text: string): boolean {
  return /^postgres(ql)?:\/\//i.test(text)
}

const parameters = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'passfile', 'host', 'port', 'user']
const modes = ['disable', 'require', 'verify-ca', 'verify-full']

/**
 * Reads a URL of libpq's form. Throws a UsageError with a remedy, which never repeats the URL: it could hold a password.
 * `environment` is that of libpq: PGPASSWORD, which is removed so that apps do not inherit it, and PGPASSFILE.
 */
export function parsePostgresUrl(text: string, environment: NodeJS.ProcessEnv): PostgresTarget {
  const refuse = (what: string): UsageError => new UsageError(`--database: ${what}`)
  const url = URL.parse(
    text.replace(/^postgresql:/i, 'postgres:').replace(/^(postgres:\/\/(?:[^/?@]*@)?)(?=[/?])/i, '$1localhost'),
  )
  if (!url) throw refuse('the URL cannot be read: its form is postgres://USER@HOST:PORT/DATABASE?OPTIONS.')
  if (url.password !== '')
    throw refuse(
      'a password in the URL could be read by every user of this machine: put it into a file and name that with ?passfile=FILE, or set PGPASSWORD or PGPASSFILE.',
    )
  const query = url.searchParams
  for (const name of query.keys()) {
    if (parameters.includes(name)) continue
    // A password with a question mark ends up in the name of an option, before the @ of the host.
    const which = text.includes('@', text.indexOf('?')) ? '' : ` ${name}`
    throw refuse(`the URL has an unknown option${which}: known are ${parameters.join(', ')}.`)
  }
  const [database = '', ...rest] = url.pathname.slice(1).split('/')
  if (database === '' || rest.length > 0)
    throw refuse('the URL names no database: add it as postgres://USER@HOST/DATABASE.')
  const user = decodeURIComponent(url.username) || query.get('user') || ''
  if (user === '') throw refuse('the URL names no user: add it as postgres://USER@HOST/DATABASE.')
  const host = query.get('host') ?? decodeURIComponent(url.hostname).replace(/^\[|\]$/g, '')
  const port = Number(query.get('port') ?? (url.port || 5432))
  const name = decodeURIComponent(database)
  const { PGPASSWORD: password } = environment
  delete environment.PGPASSWORD
  return {
    ...{ host, port, user, database: name, tls: readTls(query, host, refuse) },
    passfile: query.get('passfile') ?? (environment.PGPASSFILE || undefined),
    password: query.has('passfile') ? undefined : password || undefined,
    label: `postgres://${user}@${host.startsWith('/') || host.includes(':') ? `[${host}]` : host}:${port}/${name}`,
  }
}

function readTls(query: URLSearchParams, host: string, refuse: (what: string) => UsageError): TlsSettings | undefined {
  const mode = query.get('sslmode') ?? (isThisMachine(host) ? 'disable' : 'verify-full')
  if (!modes.includes(mode)) throw refuse(`sslmode=${mode} is not supported: use ${modes.join(', ')}.`)
  const [caFile, certFile, keyFile] = ['sslrootcert', 'sslcert', 'sslkey'].map((name) => query.get(name) ?? undefined)
  if ((certFile === undefined) !== (keyFile === undefined)) throw refuse('give both sslcert and sslkey, or neither.')
  if (mode === 'disable') {
    if (caFile ?? certFile) throw refuse('certificates need sslmode=verify-full: without TLS they are not used.')
    return undefined
  }
  const tls = { mode: mode as TlsSettings['mode'], caFile, certFile, keyFile }
  readTlsFiles(tls)
  return tls
}

/** Other users of the network cannot read what goes over loopback and Unix sockets. */
function isThisMachine(host: string): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || /^127\./.test(host)
}

/** Read at each connection, so that renewed certificates are used. */
export function tlsOptions({ tls, host }: PostgresTarget): ConnectionOptions | false {
  if (!tls) return false
  return {
    ...readTlsFiles(tls),
    ...(isIP(host) === 0 ? { servername: host } : {}),
    // As libpq does: without a CA, `require` only encrypts.
    rejectUnauthorized: tls.mode !== 'require' || tls.caFile !== undefined,
    ...(tls.mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  }
}

function readTlsFiles({ caFile, certFile, keyFile }: TlsSettings): Pick<ConnectionOptions, 'ca' | 'cert' | 'key'> {
  return {
    ...(caFile === undefined ? {} : { ca: readFile('sslrootcert', caFile) }),
    ...(certFile === undefined ? {} : { cert: readFile('sslcert', certFile) }),
    ...(keyFile === undefined ? {} : { key: readFile('sslkey', keyFile) }),
  }
}

/** Read at each connection, so that a changed password is used. `undefined` if none was given. */
export function readPassword({ passfile, password, host, port, database, user }: PostgresTarget): string | undefined {
  if (passfile === undefined) return password
  const lines = readFile('passfile', passfile)
    .split(/\r?\n/)
    .filter((line) => line !== '' && !line.startsWith('#'))
  const wanted = [host, String(port), database, user]
  for (const line of lines) {
    const fields = splitFields(line)
    if (fields.length < 5) continue
    if (wanted.every((value, index) => fields[index] === '*' || fields[index] === value))
      return fields.slice(4).join(':')
  }
  const [alone = '', ...others] = lines
  if (others.length === 0 && splitFields(alone).length < 5) return alone
  if (password !== undefined) return password
  throw new UsageError(
    `--database: the passfile ${passfile} has no line for this database: add ${wanted.join(':')}:PASSWORD, or let it hold the password alone.`,
  )
}

/** The fields of a line of `.pgpass`: a backslash takes away the meaning of a colon or a backslash. */
function splitFields(line: string): string[] {
  return line.split(/(?<!(?:^|[^\\])(?:\\\\)*\\):/).map((field) => field.replace(/\\([:\\])/g, '$1'))
}

function readFile(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new UsageError(`--database: the file ${path} of ${name} cannot be read (${errorText(error)}).`)
  }
}
