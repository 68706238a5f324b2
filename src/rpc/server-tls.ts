import { constants } from 'node:crypto'
import type { TlsOptions } from 'node:tls'
import { limits } from '../base/limits.ts'
import type { TlsMaterial } from '../identity/tls-source.ts'

export type ClientAuth = 'none' | 'request' | 'require'

/** AEAD suites with forward secrecy only; TLS 1.3 has no others. */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/**
 * How a listener speaks TLS. A site is served over HTTP/1.1 only, and browsers take HTTP/2 if it is offered: a listener with
 * a site does not offer it.
 */
export function tlsOptions(
  material: TlsMaterial,
  { clientAuth = 'none', hasSite = false }: { clientAuth?: ClientAuth | undefined; hasSite?: boolean },
): TlsOptions {
  if (!material.certificate) throw new Error('A TLS listener needs a certificate')
  const asks = clientAuth !== 'none'
  return {
    cert: material.certificate.chainPem,
    key: material.certificate.keyPem,
    minVersion: 'TLSv1.2',
    ciphers,
    ALPNProtocols: hasSite ? ['http/1.1'] : ['h2', 'http/1.1'],
    handshakeTimeout: limits.unjudgedConnectionMs,
    requestCert: asks,
    // Our own judge decides, after the handshake, so that a refused peer can be told why.
    rejectUnauthorized: false,
    // A resumed session would carry an authorisation that was never judged.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | (asks ? constants.SSL_OP_NO_TICKET : 0),
    ...(asks ? { sessionTimeout: 1 } : {}),
  }
}
