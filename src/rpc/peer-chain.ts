import type { DetailedPeerCertificate, TLSSocket } from 'node:tls'

/** What the peer sent, leaf first. Node links the certificates by issuer; a self-signed one links to itself. */
export function peerChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = []
  let certificate = socket.getPeerCertificate(true) as Partial<DetailedPeerCertificate> | undefined
  while (certificate?.raw && chain.length < 10) {
    const { raw } = certificate
    if (chain.some((earlier) => raw.equals(earlier))) break
    chain.push(raw)
    certificate = certificate.issuerCertificate
  }
  return chain
}
