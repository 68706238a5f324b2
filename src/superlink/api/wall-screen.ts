import type { IncomingMessage, ServerResponse } from 'node:http'
import { hostname } from 'node:os'
import { Attempts } from '../../base/attempts.ts'
import { errorCatalog } from '../../base/error-catalog.ts'
import { DomainError } from '../../base/errors.ts'
import { LogThrottle } from '../../base/log-throttle.ts'
import { dashboardEvents } from '../../dashboard/dashboard-events.ts'
import { FleetFeed } from '../../dashboard/fleet-feed.ts'
import { type Follow, isOwnSite, OpenStreams, sendText } from '../../dashboard/open-streams.ts'
import { readPageFiles } from '../../dashboard/page-files.ts'
import { safeHeaders } from '../../dashboard/safe-headers.ts'
import type { AuditLog } from '../../identity/audit.ts'
import type { CertificatePeer } from '../../identity/caller.ts'
import { hostOf } from '../../rpc/address.ts'
import { networkOf } from '../../rpc/body-budget.ts'
import type { Connection } from '../../rpc/call.ts'
import { callFailures, failureOfResponse } from '../../rpc/call-failures.ts'
import type { Drain } from '../../rpc/drain.ts'
import type { Site } from '../../rpc/http-door.ts'
import type { Service } from '../../rpc/service.ts'
import { toWireError } from '../../rpc/translate-errors.ts'
import type { SuperlinkContext } from '../context.ts'
import { auditCalls } from './audit-calls.ts'
import { createControlReaders } from './control-reader.ts'
import { ScreenToken } from './screen-token.ts'

/** Tabs of all wall screens together have at most so many streams; a tab has two. */
const streamsMax = 32

/** Of an address: more than a few mistypes need. Each wrong token is a line in the audit log. */
const tokenAttempts = { max: 10, perMs: 60_000, keysMax: 1000 }

/** A reader by token: it sees all SuperNodes and runs, as a certificate with `runs = "all"` does, and is no admin. */
const tokenReader: CertificatePeer = {
  kind: 'certificate',
  identity: 'dashboard token',
  organization: '',
  roles: new Set(['cli']),
  runs: 'all',
  serial: '',
  fingerprint: '',
  notAfter: Number.POSITIVE_INFINITY,
  identitySharing: 'refuse',
}

/** The connection of the feed that all browsers with the token share. It never ends. */
const tokenConnection: Connection = {
  ...{ id: 0, remoteAddress: '', secure: true, peer: tokenReader, bytesSent: 0 },
  ...{ closed: new AbortController().signal, cutOff: new AbortController().signal },
  close() {},
}

export interface WallScreenOptions {
  /** Of its listener. */
  readonly name: string
  readonly control: Service
  /** Absent: only certificates open the page. */
  readonly token: string | undefined
  readonly audit: AuditLog
  readonly drain: Drain
}

/**
 * Serves the page of `flwr dashboard` without its buttons and without logs. A browser with a client certificate sees what `flwr`
 * with that certificate sees; one with the token is `tokenReader`. Nothing here decides about rights: each view calls the Control
 * API as its reader.
 */
export async function createWallScreen(
  { clock, log }: Pick<SuperlinkContext, 'clock' | 'log'>,
  { name, control, token, audit, drain }: WallScreenOptions,
): Promise<Site> {
  const files = await readPageFiles()
  const readers = createControlReaders(control, [auditCalls(name, audit)], drain)
  const tokens = token === undefined ? undefined : new ScreenToken(token)
  const streams = new OpenStreams(streamsMax)
  const attempts = new Attempts<string>(tokenAttempts)
  const throttle = new LogThrottle(clock)
  const explain = (error: unknown): string => toWireError(error, name, log).httpSentence

  const sourceOf = (connection: Connection, signal: AbortSignal) => {
    return { client: readers(connection, signal), clock, explain, isRetryable, signal, readOnly: true }
  }
  /** Browsers with the token see the same, so they share what is looked up. */
  const tokenFeed = new FleetFeed(hostname(), sourceOf(tokenConnection, tokenConnection.closed))

  const follow = (path: string, connection: Connection): Follow | undefined => {
    if (path.endsWith('/log')) return undefined
    const ended = new AbortController()
    const source = sourceOf(connection, ended.signal)
    const feed = connection.peer === tokenReader ? tokenFeed : new FleetFeed(hostname(), source)
    const stream = dashboardEvents(feed, source)(path)
    if (!stream) return undefined
    return async (send, signal) => {
      using served = drain.enter(name)
      try {
        await stream(send, served.signalOf({ signal }))
      } finally {
        ended.abort()
      }
    }
  }

  const readerOf = (request: IncomingMessage, connection: Connection): Connection | undefined => {
    const { peer } = connection
    if (peer.kind === 'certificate' && peer.roles.has('cli')) return connection
    return tokens?.admits(request) ? withPeer(connection, tokenReader) : undefined
  }

  const enter = async (request: IncomingMessage, response: ServerResponse, connection: Connection): Promise<void> => {
    const { remoteAddress: peerAddress, peer, secure } = connection
    const network = networkOf(hostOf(peerAddress))
    // Lines of the log and of the audit log are bounded, so that guesses do not fill the disk.
    if (!attempts.take(network, clock.now())) {
      response.setHeader('retry-after', '60')
      return sendText(response, 429, 'Too many tokens were entered from this address: wait a minute.')
    }
    const isRight = await (tokens as ScreenToken).enter(request, response, secure)
    const entry = { listener: name, method: 'token', peerAddress, peer }
    audit({ ...entry, ...(isRight ? allowed : { decision: 'refuse', reason: 'wrong-token' }) })
    const fields = isRight ? undefined : throttle.admit(network)
    if (fields) log.warn('Refused a token for the dashboard', { peer: peerAddress, ...fields })
  }

  return async (request, response, connection) => {
    const [path = '/'] = (request.url ?? '/').split('?', 1)
    if (tokens && path === '/enter' && request.method === 'POST') await enter(request, response, connection)
    else if (request.method !== 'GET' && request.method !== 'HEAD') sendText(response, 405, 'This page is read-only.')
    else {
      const reader = readerOf(request, connection)
      if (!reader) refuse(path, response, tokens)
      else {
        const file = files[path]
        const isForStreams = !file && request.method === 'GET' && isOwnSite(request)
        const stream = isForStreams ? follow(path, reader) : undefined
        if (file) response.writeHead(200, { ...safeHeaders, 'content-type': file.type }).end(file.body)
        else if (stream) streams.serve(stream, response, connection.cutOff)
        else sendText(response, 404, 'There is no such page.')
      }
    }
    return true
  }
}

const allowed = { decision: 'allow' } as const

function refuse(path: string, response: ServerResponse, tokens: ScreenToken | undefined): void {
  if (!tokens)
    sendText(response, 403, 'This page needs a client certificate with the role cli: import one into the browser.')
  else if (path === '/') tokens.showEntrance(response, 200, 'Enter the token that is in the file of this SuperLink.')
  else sendText(response, 403, 'Open / and enter the token first.')
}

/** Whether the same call may succeed later: as `flwr` decides it, which gets the error over the network. */
function isRetryable(error: unknown): boolean {
  if (!(error instanceof DomainError)) return false
  return callFailures[failureOfResponse(errorCatalog[error.code].status, error)].waiting === 'helps'
}

/** The same connection with another peer. */
function withPeer(connection: Connection, peer: CertificatePeer): Connection {
  const { id, remoteAddress, secure, closed, cutOff } = connection
  return {
    ...{ id, remoteAddress, secure, closed, cutOff, peer },
    get bytesSent() {
      return connection.bytesSent
    },
    close: () => connection.close(),
  }
}
