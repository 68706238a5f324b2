/** What the operator of a server should know of a TLS handshake that came to nothing; `undefined` for a mere hang-up. */
export function handshakeFailure(error: NodeJS.ErrnoException & { reason?: string }): string | undefined {
  const code = error.code ?? ''
  const known = sentences.find(([codes]) => codes.includes(code))
  if (known) return known[1]
  if (code === 'ECONNRESET' || code === 'EPIPE') return undefined
  const alert = /^ERR_SSL_(?:TLSV1|SSLV3|TLSV13)_ALERT_(\w+)$/.exec(code)?.[1]
  if (alert) {
    return /CERTIFICATE|UNKNOWN_CA/.test(alert)
      ? `The client does not accept our certificate (${spoken(alert)}): give it the CA of the certificate as root certificate, and connect by a name in the certificate.`
      : `The client broke off the TLS handshake (${spoken(alert)}).`
  }
  return `The TLS handshake failed (${error.reason ?? error.message.trim()}).`
}

export const tlsOnPlainPort =
  'A client with TLS connected to this port, which serves without: start the server with certificates, or connect with --insecure (insecure = true).'

const plainOnTlsPort =
  'A client without TLS connected to this port, which serves TLS only: give the client --root-certificates instead of --insecure (insecure = true).'

const sentences: readonly (readonly [codes: readonly string[], sentence: string])[] = [
  [['ERR_SSL_HTTP_REQUEST', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG'], plainOnTlsPort],
  [
    ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'ERR_SSL_VERSION_TOO_LOW'],
    'The client speaks no version of TLS that is served: it needs TLS 1.2 or 1.3.',
  ],
  [
    ['ERR_SSL_NO_SHARED_CIPHER', 'ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM'],
    'The client has no cipher suite in common with this port, which serves suites with authenticated encryption only (AES-GCM, ChaCha20-Poly1305).',
  ],
  [
    ['ERR_SSL_NO_APPLICATION_PROTOCOL_DATA', 'ERR_SSL_NO_APPLICATION_PROTOCOL'],
    'The client speaks neither HTTP/2 nor HTTP/1.1.',
  ],
  [
    ['ERR_TLS_HANDSHAKE_TIMEOUT'],
    'The client did not finish the TLS handshake in time: it may be no TLS client, or the network loses packets.',
  ],
]

function spoken(alert: string): string {
  return alert.toLowerCase().replaceAll('_', ' ')
}
