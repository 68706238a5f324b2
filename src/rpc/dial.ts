import { X509Certificate } from 'node:crypto'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { limits } from '../base/limits.ts'
import { connectTls } from '../base/tls-connect.ts'
import { pemCertificates } from '../identity/pem.ts'
import type { TlsSource } from '../identity/tls-source.ts'
import { type Address, formatAddress } from './address.ts'
import { type CallFailure, callFailures } from './call-failures.ts'
import { leafAndIssuer } from './peer-chain.ts'
import { RpcError } from './rpc-error.ts'

export type ChannelTls = TlsSource | 'insecure'

/** An open connection to a server and what it speaks: `undefined` if that is unknown (plain, or no ALPN). */
export interface Dialled {
  readonly socket: Socket | TLSSocket
  readonly alpn: 'h2' | 'http/1.1' | undefined
}

/** Connects, with TLS unless insecure. Rejects with one sentence that names the address, the cause and the remedy. */
export function dial(address: Address, tls: ChannelTls, alpn: readonly string[], timeoutMs = 20_000): Promise<Dialled> {
  return new Promise((resolve, reject) => {
    const socket = tls === 'insecure' ? connectTcp({ ...address, noDelay: true }) : startTls(address, tls, alpn)
    const fail = (error: Error): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(explain(error, address, socket, tls === 'insecure' ? undefined : tls.current().rootsPem))
    }
    let staple: Uint8Array | undefined
    socket.once('OCSPResponse', (der: Buffer | null) => {
      staple = der ?? undefined
    })
    const late = (): void => fail(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' }))
    let timer = setTimeout(late, timeoutMs)
    // A crowded server accepts a connection long before it has time for the handshake.
    socket.once('connect', () => {
      clearTimeout(timer)
      timer = setTimeout(late, timeoutMs * handshakePatience)
    })
    socket.once('error', fail)
    socket.once('close', () => fail(Object.assign(new Error('closed'), { code: 'ECONNRESET' })))
    socket.once(tls === 'insecure' ? 'connect' : 'secureConnect', () => {
      const finish = (): void => {
        clearTimeout(timer)
        socket.removeAllListeners('error').removeAllListeners('close')
        socket.on('error', () => {})
        // A stream has no time limit, and a machine that loses its power or its network closes no connection.
        const { idleMs, intervalMs, count } = limits.serverProbes
        socket.setKeepAlive(true, idleMs, intervalMs, count)
        const chosen = 'alpnProtocol' in socket ? (socket as TLSSocket).alpnProtocol : undefined
        resolve({ socket, alpn: chosen === 'h2' || chosen === 'http/1.1' ? chosen : undefined })
      }
      if (staple === undefined || tls === 'insecure') finish()
      else ensureNotRevoked(socket as TLSSocket, tls.current().rootsPem, staple).then(finish, fail)
    })
  })
}

/** How many times as long as a connection its handshake may take. */
const handshakePatience = 2

function startTls(address: Address, tls: TlsSource, alpn: readonly string[]): TLSSocket {
  const { certificate, rootsPem } = tls.current()
  const options: ConnectionOptions & { highWaterMark: number } = {
    ...address,
    ...(isIP(address.host) ? {} : { servername: address.host }),
    ...(certificate ? { cert: certificate.chainPem, key: certificate.keyPem } : {}),
    ...(rootsPem ? { ca: rootsPem } : {}),
    // A file with an intermediate CA alone is trusted, as by Flower over gRPC: cert-manager writes ca.crt so.
    allowPartialTrustChain: true,
    ALPNProtocols: [...alpn],
    minVersion: 'TLSv1.2',
    requestOCSP: true,
    highWaterMark: 256 * 1024,
  }
  return connectTls(options).setNoDelay(true)
}

/** The OCSP response that the server stapled says that its certificate is not good. */
class ServerRevoked extends Error {}

/** Loads the code that reads OCSP responses here, because most connections have none. */
async function ensureNotRevoked(socket: TLSSocket, rootsPem: string | undefined, staple: Uint8Array): Promise<void> {
  const { stapleFault } = await import('../identity/revocation/staple.ts')
  const fault = stapleFault(staple, leafAndIssuer(socket, rootsPem), Date.now())
  if (fault !== undefined) throw new ServerRevoked(fault)
}

const untrustedCodes = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'INVALID_CA',
])

interface Explanation {
  readonly failure: CallFailure
  /** The rest of a sentence that begins with the address, or the whole one with the address in the place of `…`. */
  readonly sentence: string
}

function explain(
  error: NodeJS.ErrnoException,
  address: Address,
  socket: Socket | TLSSocket,
  rootsPem: string | undefined,
): RpcError {
  const { failure, sentence } =
    error instanceof ServerRevoked
      ? {
          ...{ failure: 'server-revoked' as const },
          sentence: `The certificate of … ${error.message}: have it issued anew at the server.`,
        }
      : (explainCertificate(error, socket, rootsPem) ??
        explainTls(error) ??
        explainNetwork(error, 'encrypted' in socket))
  const kind = callFailures[failure].waiting === 'helps' ? 'unreachable' : 'tls'
  return new RpcError(
    'unavailable',
    sentence.replace('…', () => formatAddress(address)),
    { kind, failure, cause: error },
  )
}

/** Explains what Node has against the certificate of the server. */
function explainCertificate(
  error: NodeJS.ErrnoException,
  socket: Socket,
  rootsPem: string | undefined,
): Explanation | undefined {
  const { code = '', message } = error
  if (untrustedCodes.has(code))
    return {
      failure: 'server-untrusted',
      sentence: `The certificate of … is not signed by a trusted CA: give the CA of the server as root certificate (${code}).`,
    }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return {
      failure: 'server-misnamed',
      sentence:
        addressAsDnsName(error) ??
        'The certificate of … is not for that host name: connect by a name in the certificate, or issue it with this one as subject alternative name.',
    }
  if (code === 'CERT_HAS_EXPIRED')
    return {
      failure: 'server-out-of-dates',
      sentence: expiredRoots(rootsPem) ?? 'The certificate of … has expired: renew it at the server.',
    }
  if (code === 'CERT_NOT_YET_VALID')
    return {
      failure: 'server-out-of-dates',
      sentence: 'The certificate of … is not valid yet: check the clocks.',
    }
  if ((socket as Partial<TLSSocket>).authorizationError)
    return {
      failure: 'server-untrusted',
      sentence: `The certificate of … cannot be relied on (${message}): issue it anew, as a certificate for servers.`,
    }
  return undefined
}

/** OpenSSL does not say which certificate of the chain has expired: it may be a root certificate of this client. */
function expiredRoots(rootsPem: string | undefined): string | undefined {
  if (rootsPem === undefined) return undefined
  const roots = pemCertificates(rootsPem).map((der) => new X509Certificate(der))
  const expired = roots.filter(({ validToDate }) => validToDate.getTime() <= Date.now())
  if (expired.length === 0) return undefined
  const names = expired
    .map(({ subject, validToDate }) => `${subject.replaceAll('\n', ', ')} (on ${validToDate.toISOString()})`)
    .join(' and ')
  const remedy = 'put the current certificate of the CA into the file of root certificates'
  return expired.length === roots.length
    ? `The certificate of … cannot be relied on, because the root certificate ${names} has expired: ${remedy}.`
    : `The certificate of … or its CA has expired: renew it at the server, or if it is of ${names}, ${remedy}.`
}

/** Home-made certificates often have an IP address as DNS name, which counts for nothing. */
function addressAsDnsName(error: object): string | undefined {
  const { host, cert } = error as { host?: unknown; cert?: { subjectaltname?: unknown } }
  const names = typeof cert?.subjectaltname === 'string' ? cert.subjectaltname.split(', ') : []
  if (typeof host !== 'string' || isIP(host) === 0 || !names.includes(`DNS:${host}`)) return undefined
  return `The certificate of … names ${host} as DNS name, not as IP address: issue it with the subject alternative name IP:${host}.`
}

const notTlsCodes = ['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'EPROTO']

function explainTls({ code = '', message }: NodeJS.ErrnoException): Explanation | undefined {
  if (notTlsCodes.includes(code))
    return {
      failure: 'not-tls',
      sentence:
        '… does not speak TLS: start the server with certificates, or connect with --insecure (insecure = true).',
    }
  // So a crowded SuperLink turns away a connection that has no place in its queue.
  if (code === 'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR')
    return { failure: 'handshake-cut', sentence: '… has no time for the TLS handshake: it may be too busy.' }
  if (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS'))
    return { failure: 'tls-failed', sentence: `No TLS connection to …: ${message}.` }
  return undefined
}

function explainNetwork({ code = '', message }: NodeJS.ErrnoException, isTls: boolean): Explanation {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return { failure: 'name-unknown', sentence: 'The host name of … cannot be resolved: check the address.' }
  if (code === 'ECONNREFUSED')
    return {
      failure: 'connection-refused',
      sentence: 'No server listens on …: check the address and whether the server is running.',
    }
  if (code === 'ETIMEDOUT')
    return {
      failure: 'connection-timeout',
      sentence: '… did not answer in time: check the address and the network.',
    }
  if (isTls && code === 'ECONNRESET')
    return {
      failure: 'handshake-cut',
      sentence: '… closed the connection during the TLS handshake: it may be too busy, or no TLS port.',
    }
  return { failure: 'unreachable', sentence: `No connection to …: ${message}.` }
}
