import type { X509Certificate } from 'node:crypto'
import { type ConnectionOptions, checkServerIdentity, connect, type PeerCertificate, type TLSSocket } from 'node:tls'

/**
 * Node 26.10 crashes (SIGSEGV) when `getPeerCertificate()` meets a key on a curve without a NIST name, in any certificate
 * of the peer's chain. Node itself calls it at each client handshake, to compare the host name. This file keeps every
 * connection away from it: certificates are read as `X509Certificate`, which has no such fault.
 */

/** Connects by TLS. The server's chain, dates and names are checked as `tls.connect` checks them. */
export function connectTls(options: ConnectionOptions): TLSSocket {
  const socket: TLSSocket = connect({
    ...options,
    checkServerIdentity: (host): Error | undefined => {
      const certificate = socket.getPeerX509Certificate()
      return certificate ? serverNameFault(host, certificate) : new Error('The server sent no certificate.')
    },
  })
  return withoutLegacyCertificate(socket)
}

/** Makes the socket return no certificate where Node, or a library, asks it for the object that crashes. */
export function withoutLegacyCertificate(socket: TLSSocket): TLSSocket {
  Object.defineProperty(socket, 'getPeerCertificate', { value: () => ({}) })
  return socket
}

/** Returns what Node's own comparison finds wrong with a server's names, or `undefined`. */
export function serverNameFault(host: string, { subject, subjectAltName }: X509Certificate): Error | undefined {
  // One line an attribute. Special characters come escaped, so a value with a line end cannot pass for another attribute.
  const CN = (subject ?? '').split('\n').flatMap((line) => (line.startsWith('CN=') ? [line.slice(3)] : []))
  const names = { subject: { CN }, subjectaltname: subjectAltName }
  return checkServerIdentity(host, names as unknown as PeerCertificate)
}
