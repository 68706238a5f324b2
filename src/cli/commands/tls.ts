import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { parseCertificate } from '../../identity/certificate.ts'
import { readClientTls } from '../../identity/tls-files.ts'
import { fixedTlsSource } from '../../identity/tls-source.ts'
import { parseAddress } from '../../rpc/address.ts'
import { dial } from '../../rpc/dial.ts'
import { RpcError } from '../../rpc/rpc-error.ts'
import { type CliContext, type CreateCommand, connectionArgument, formatOption, group } from '../command.ts'
import { openControl } from '../connect.ts'
import { type ConnectionProfile, findConnection, readFlowerConfig } from '../flower-config.ts'
import { flwrHome } from '../home.ts'
import { type Output, runCommand } from '../output.ts'
import { explainRpcError } from '../rpc-sentences.ts'
import { table, tableWidth } from '../table.ts'
import { Checklist, checkCas, checkClientFiles, checkDates, checkServerFiles } from '../tls-check.ts'

export const tlsCommand: CreateCommand = (context) => group('tls', 'the TLS of a connection', [checkCommand(context)])

interface Options {
  readonly certfile?: string
  readonly keyfile?: string
  readonly ca?: string
  readonly crl?: string
  readonly server?: boolean
  readonly format: string
}

/** Differences between clocks that are worth a warning, and with which certificates and signatures fail. */
const clockSkewMs = { warning: 30_000, broken: 5 * 60_000 }

function checkCommand(context: CliContext): Command {
  return new Command('check')
    .description('check the TLS of a connection or of certificate files, and name the first fault')
    .argument(...connectionArgument)
    .option('--certfile <path>', 'check files instead of a connection: the certificate (chain)')
    .option('--keyfile <path>', 'the private key of the certificate')
    .option('--ca <path>', 'the CA that must have signed the certificate')
    .option('--crl <path>', 'revocation list, or a folder of lists')
    .option('--server', 'check the files as those of a SuperLink; by default as those of a client')
    .addOption(formatOption())
    .action(async (connectionName: string | undefined, options: Options) => {
      context.status = await runCommand(context, options.format, async (output) => {
        const list = new Checklist()
        if (options.certfile === undefined) await checkConnection(context, list, connectionName, output)
        else await checkFiles(list, options, options.certfile)
        return report(list, output)
      })
    })
}

function report(list: Checklist, output: Output): number {
  const { steps } = list
  output.say(stepsTable(steps, tableWidth()))
  const broken = steps.find(({ outcome }) => outcome === 'broken')
  output.answer({
    success: broken === undefined,
    broken: broken?.link ?? null,
    steps: steps.map(({ link, outcome, detail }) => ({ link, outcome, detail })),
  })
  output.note(broken ? `The check stopped at the step '${broken.link}', which failed.` : 'All steps succeeded.')
  return broken ? 1 : 0
}

const outcomeWords = { ok: 'ok', warning: 'warning', broken: 'FAILED' } as const
const outcomeStyles: Readonly<Record<string, 'yellow' | 'red'>> = { warning: 'yellow', FAILED: 'red' }

/** Returns the steps as a table; long sentences continue below each other. */
export function stepsTable(steps: Readonly<Checklist['steps']>, width: number): string {
  return table(
    ['Step', { title: 'Result', styleOf: (word) => outcomeStyles[word] }, { title: 'What was found', wraps: true }],
    steps.map(({ link, outcome, detail }) => [link, outcomeWords[outcome], detail]),
    width,
  )
}

async function checkFiles(list: Checklist, { keyfile, ca, crl, server }: Options, certfile: string): Promise<void> {
  const file = (flag: string, path: string | undefined) => (path === undefined ? undefined : { flag, path })
  if (crl !== undefined && ca === undefined) throw new UsageError('--crl needs --ca, the CA that signs the list.')
  const files = {
    certfile: { flag: '--certfile', path: certfile },
    keyfile: file('--keyfile', keyfile),
    ca: file('--ca', ca),
    crl: file('--crl', crl),
  }
  await (server ? checkServerFiles : checkClientFiles)(list, files, Date.now())
  if (ca === undefined && !list.isBroken)
    list.note('chain', 'Not checked: give the CA that must have signed the certificate with --ca.', 'warning')
}

/** Checks files, dates, address, handshake, clock, and the response of the SuperLink to an ordinary call. */
async function checkConnection(
  context: CliContext,
  list: Checklist,
  name: string | undefined,
  output: Output,
): Promise<void> {
  const connection = findConnection(
    readFlowerConfig(flwrHome(), () => {}),
    name,
  )
  if (connection.local || connection.insecure)
    throw new UsageError(`${connection.where} has no TLS: there is nothing to check.`)
  if (!(await checkOwnFiles(list, connection))) return
  if (!(await list.holds('address', () => parseAddress(connection.address, connection.where)))) return
  if (!(await checkHandshake(list, connection))) return
  await list.holds(
    'answer',
    async () => {
      using control = await openControl(context, name, output)
      const { federations } = await control.client.listFederations({})
      list.note(
        'answer',
        `The SuperLink accepts you and lists ${federations.length === 1 ? 'one federation' : `${federations.length} federations`}.`,
      )
    },
    explainRpcError,
  )
}

async function checkOwnFiles(list: Checklist, connection: ConnectionProfile): Promise<boolean> {
  const { rootCertificates, clientCertificate, clientPrivateKey, where } = connection
  const file = (key: string, path: string) => ({ flag: `${where} ${key}`, path })
  if (rootCertificates !== undefined) {
    const roots = file('root-certificates', rootCertificates)
    if (!(await checkCas(list, roots, Date.now()))) return false
    list.note('file', `${rootCertificates} can be read.`)
  }
  if (clientCertificate === undefined) {
    list.note(
      'file',
      'There is no client certificate: none is needed if the SuperLink does not ask for one.',
      'warning',
    )
    return true
  }
  await checkClientFiles(
    list,
    {
      certfile: file('client-certificate', clientCertificate),
      keyfile: clientPrivateKey === undefined ? undefined : file('client-private-key', clientPrivateKey),
      ca: undefined,
      crl: undefined,
    },
    Date.now(),
  )
  return !list.isBroken
}

async function checkHandshake(list: Checklist, connection: ConnectionProfile): Promise<boolean> {
  const file = (path: string | undefined) => (path === undefined ? undefined : { flag: connection.where, path })
  // With the certificate: the SuperLink would log the refusal of a connection without one.
  const { material } = readClientTls({
    roots: file(connection.rootCertificates),
    certfile: file(connection.clientCertificate),
    keyfile: file(connection.clientPrivateKey),
    now: Date.now(),
  })
  const address = parseAddress(connection.address, connection.where)
  let socket: TLSSocket | undefined
  try {
    socket = (await dial(address, fixedTlsSource(material), ['h2', 'http/1.1'])).socket as TLSSocket
  } catch (error) {
    if (!(error instanceof RpcError)) throw error
    const isReached = error.kind === 'tls' || /TLS handshake/.test(error.message)
    list.note(isReached ? 'handshake' : 'address', error.message, 'broken')
    return false
  }
  try {
    list.note('address', `${connection.address} responds.`)
    list.note('handshake', `${socket.getProtocol()}, and the certificate of the SuperLink is trusted.`)
    const der = socket.getPeerX509Certificate()?.raw
    if (der && !checkDates(list, parseCertificate(der), Date.now())) return false
  } finally {
    socket.destroy()
  }
  // A SuperLink that speaks gRPC only does not send its time.
  const web = await dial(address, fixedTlsSource(material), ['http/1.1']).catch(() => undefined)
  return web?.alpn === 'http/1.1' ? checkClock(list, web.socket as TLSSocket) : true
}

/** Every HTTP response has the time of the server, also that of a rejection. */
async function checkClock(list: Checklist, socket: TLSSocket): Promise<boolean> {
  socket.write('GET /health HTTP/1.1\r\nhost: superlink\r\nconnection: close\r\n\r\n')
  const answered = once(socket, 'data', { signal: AbortSignal.timeout(5000) }).catch(() => [Buffer.alloc(0)])
  const [head] = (await answered) as [Buffer]
  socket.destroy()
  const said = Date.parse(/^date: (.+)\r$/im.exec(head.toString('latin1'))?.[1] ?? '')
  if (!Number.isFinite(said)) return true
  const apartMs = Math.abs(said - Date.now())
  const sentence = `The clocks of this machine and of the SuperLink are ${Math.round(apartMs / 1000)} s apart`
  if (apartMs > clockSkewMs.broken) list.note('clock', `${sentence}: set them by NTP.`, 'broken')
  else list.note('clock', `${sentence}.`, apartMs > clockSkewMs.warning ? 'warning' : 'ok')
  return !list.isBroken
}
