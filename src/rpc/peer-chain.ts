import { X509Certificate } from 'node:crypto'
import { getCACertificates, type TLSSocket } from 'node:tls'
import { limits } from '../base/limits.ts'
import { pemCertificates } from '../identity/pem.ts'

/** One more than the judge accepts, so that it can refuse the rest with a reason. */
const certificatesMax = limits.certificatePathMax + 1

/** Returns the certificates that the peer sent as DER, in its order, the leaf first and none twice. */
export function peerChain(socket: TLSSocket): Uint8Array[] {
  const chain: Buffer[] = []
  let certificate = socket.getPeerX509Certificate()
  while (certificate && chain.length < certificatesMax) {
    const { raw } = certificate
    if (!chain.some((earlier) => raw.equals(earlier))) chain.push(raw)
    certificate = certificate.issuerCertificate
  }
  return chain
}

/**
 * Returns the server's certificate and the certificate of its issuer, which is one that it sent or one of the roots. Only the
 * first is returned if the issuer is not found.
 */
export function leafAndIssuer(socket: TLSSocket, rootsPem: string | undefined): Uint8Array[] {
  const [leaf, ...sent] = peerChain(socket)
  if (!leaf) return []
  const certificate = new X509Certificate(leaf)
  const roots = rootsPem === undefined ? getCACertificates('default') : pemCertificates(rootsPem)
  for (const candidate of [...sent, ...roots]) {
    const issuer = issuerOf(certificate, candidate)
    if (issuer) return [leaf, issuer]
  }
  return [leaf]
}

function issuerOf(certificate: X509Certificate, candidate: Uint8Array | string): Uint8Array | undefined {
  try {
    const issuer = new X509Certificate(candidate)
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey) ? issuer.raw : undefined
  } catch {
    // A kind of certificate or key that Node cannot read has not issued one that it trusts.
    return undefined
  }
}
