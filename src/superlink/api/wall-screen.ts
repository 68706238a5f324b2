import type { IncomingMessage, ServerResponse } from 'node:http'
import { hostname } from 'node:os'
import { dashboardEvents } from '../../dashboard/dashboard-events.ts'
import { FleetFeed } from '../../dashboard/fleet-feed.ts'
import { type Follow, isOwnSite, OpenStreams, sendText } from '../../dashboard/open-streams.ts'
import { readPageFiles } from '../../dashboard/page-files.ts'
import { safeHeaders } from '../../dashboard/safe-headers.ts'
import type { AuditLog } from '../../identity/audit.ts'
import type { CertificatePeer } from '../../identity/caller.ts'
import type { Connection } from '../../rpc/call.ts'
import type { Drain } from '../../rpc/drain.ts'
import type { Site } from '../../rpc/http-door.ts'
import type { Service } from '../../rpc/service.ts'
import { toWireError } from '../../rpc/translate-errors.ts'
import type { SuperlinkContext } from '../context.ts'
import { auditCalls } from './audit-calls.ts'
import { createControlReaders } from './control-reader.ts'
import { ScreenToken } from './screen-token.ts'

/** Tabs of all wall screens together have at most so many streams; a tab has two. */
const streamsMax = 64

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
  const explain = (error: unknown): string => toWireError(error, name, log).httpSentence

  const follow = (path: string, connection: Connection): Follow | undefined => {
    if (path.endsWith('/log')) return undefined
    return async (send, signal) => {
      using served = drain.enter(name)
      const until = served.signalOf({ signal })
      const source = { client: readers(connection, until), clock, explain }
      const feed = new FleetFeed(hostname(), { ...source, signal: until, readOnly: true })
      await dashboardEvents(feed, source)(path)?.(send, until)
    }
  }

  const readerOf = (request: IncomingMessage, connection: Connection): Connection | undefined => {
    const { peer } = connection
    if (peer.kind === 'certificate' && peer.roles.has('cli')) return connection
    return tokens?.admits(request) ? withPeer(connection, tokenReader) : undefined
  }

  const enter = async (request: IncomingMessage, response: ServerResponse, connection: Connection): Promise<void> => {
    const isRight = await (tokens as ScreenToken).enter(request, response, connection.secure)
    const entry = { listener: name, method: 'token', peerAddress: connection.remoteAddress }
    audit({ ...entry, peer: connection.peer, ...(isRight ? allowed : { decision: 'refuse', reason: 'wrong-token' }) })
    if (!isRight) log.warn('Refused a token for the dashboard', { peer: connection.remoteAddress })
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
        const stream = file || !isOwnSite(request) ? undefined : follow(path, reader)
        if (file) response.writeHead(200, { ...safeHeaders, 'content-type': file.type }).end(file.body)
        else if (!stream || !path.startsWith('/api/')) sendText(response, 404, 'There is no such page.')
        else if (streams.isFull) sendText(response, 503, 'Too many pages of this dashboard are open: close some.')
        else streams.serve(stream, response, connection.cutOff)
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
