import { connect as connectTcp, isIP, type Socket } from 'node:net'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { connectTls } from '../base/tls-connect.ts'
import type { TlsSource } from '../identity/tls-source.ts'
import { type Address, formatAddress } from './address.ts'
import { leafAndIssuer } from './peer-chain.ts'
import { RpcError } from './rpc-error.ts'

export type ChannelTls = TlsSource | 'insecure'

/** An open connection to a server and what it speaks: `undefined` when nobody has said (plain, or no ALPN). */
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
      reject(explain(error, address, tls))
    }
    let staple: Uint8Array | undefined
    socket.once('OCSPResponse', (der: Buffer | null) => {
      staple = der ?? undefined
    })
    const timer = setTimeout(() => fail(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })), timeoutMs)
    socket.once('error', fail)
    socket.once('close', () => fail(Object.assign(new Error('closed'), { code: 'ECONNRESET' })))
    socket.once(tls === 'insecure' ? 'connect' : 'secureConnect', () => {
      const finish = (): void => {
        clearTimeout(timer)
        socket.removeAllListeners('error').removeAllListeners('close')
        socket.on('error', () => {})
        const chosen = 'alpnProtocol' in socket ? (socket as TLSSocket).alpnProtocol : undefined
        resolve({ socket, alpn: chosen === 'h2' || chosen === 'http/1.1' ? chosen : undefined })
      }
      if (staple === undefined || tls === 'insecure') finish()
      else ensureNotRevoked(socket as TLSSocket, tls.current().rootsPem, staple).then(finish, fail)
    })
  })
}

function startTls(address: Address, tls: TlsSource, alpn: readonly string[]): TLSSocket {
  const { certificate, rootsPem } = tls.current()
  const options: ConnectionOptions & { highWaterMark: number } = {
    ...address,
    ...(isIP(address.host) ? {} : { servername: address.host }),
    ...(certificate ? { cert: certificate.chainPem, key: certificate.keyPem } : {}),
    ...(rootsPem ? { ca: rootsPem } : {}),
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

const chainErrors = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'INVALID_CA',
])

function explain(error: Error, address: Address, tls: ChannelTls): RpcError {
  const where = formatAddress(address)
  const code = (error as NodeJS.ErrnoException).code ?? ''
  const tlsError = (message: string): RpcError => new RpcError('unavailable', message, { kind: 'tls', cause: error })
  const unreachable = (message: string): RpcError =>
    new RpcError('unavailable', message, { kind: 'unreachable', cause: error })
  if (error instanceof ServerRevoked)
    return tlsError(`The certificate of ${where} ${error.message}: have it issued anew at the server.`)
  if (chainErrors.has(code)) {
    return tlsError(
      `The certificate of ${where} is not signed by a trusted CA: give the CA of the server as root certificate (${code}).`,
    )
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return tlsError(
      `The certificate of ${where} is not for that host name: connect by a name in the certificate, or issue it with this one as subject alternative name.`,
    )
  }
  if (code === 'CERT_HAS_EXPIRED') return tlsError(`The certificate of ${where} has expired: renew it at the server.`)
  if (code === 'CERT_NOT_YET_VALID') return tlsError(`The certificate of ${where} is not valid yet: check the clocks.`)
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG' || code === 'EPROTO') {
    return tlsError(
      `${where} does not speak TLS: start the server with certificates, or connect with --insecure (insecure = true).`,
    )
  }
  if (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS'))
    return tlsError(`No TLS connection to ${where}: ${error.message}.`)
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return unreachable(`The host name of ${where} cannot be resolved: check the address.`)
  if (code === 'ECONNREFUSED')
    return unreachable(`Nobody listens on ${where}: check the address and whether the server is running.`)
  if (code === 'ETIMEDOUT') return unreachable(`${where} did not answer in time: check the address and the network.`)
  if (code === 'ECONNRESET' && tls !== 'insecure')
    return unreachable(`${where} closed the connection during the TLS handshake: check that it is a TLS port.`)
  return unreachable(`No connection to ${where}: ${error.message}.`)
}
