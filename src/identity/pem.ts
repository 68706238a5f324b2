/** The certificates of a PEM text, see {@link pemBlocks}. */
export function pemCertificates(text: string): Uint8Array[] {
  return pemBlocks(text, '(?:TRUSTED |X509 )?CERTIFICATE', 'a certificate')
}

/**
 * The blocks with a label (a regular expression) as DER, in their order. Other blocks and comments are skipped; a block that
 * is cut off or not base64 is an Error, for a bundle must not lose one silently.
 */
export function pemBlocks(text: string, label: string, what = 'a block'): Uint8Array[] {
  const found = [
    ...text.matchAll(new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]+?)-----END ${label}-----`, 'g')),
  ]
  const begun = text.match(new RegExp(`-----BEGIN ${label}-----`, 'g'))?.length ?? 0
  if (found.length < begun) throw new Error(`${what} is cut off or damaged`)
  return found.map(([, base64]) => Buffer.from(base64 as string, 'base64'))
}

/** Whether the text holds a private key of any kind. */
export function hasPrivateKey(text: string): boolean {
  return /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/.test(text)
}

export function isPem(text: string): boolean {
  return /-----BEGIN [A-Z0-9 ]+-----/.test(text)
}

export function toPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
