/** Returns the certificates of a PEM text, see {@link pemBlocks}. */
export function pemCertificates(text: string): Uint8Array[] {
  return readBlocks(text, '(?:TRUSTED |X509 )?CERTIFICATE', 'certificate').map(({ label, der }) =>
    label.startsWith('TRUSTED') ? firstElement(der) : der,
  )
}

/**
 * Returns the blocks with a label (a regular expression) as DER, in their order. Other blocks and comments are skipped. Throws
 * an Error for a block that is cut off or not base64, because a bundle must not lose one silently.
 */
export function pemBlocks(text: string, label: string, what = 'block'): Uint8Array[] {
  return readBlocks(text, label, what).map(({ der }) => der)
}

function readBlocks(text: string, anyLabel: string, what: string): { label: string; der: Uint8Array }[] {
  const begins = [...text.matchAll(new RegExp(`-----BEGIN (${anyLabel})-----`, 'g'))]
  return begins.map(({ 0: begin, 1: label = '', index }, position) => {
    const rest = new RegExp(`([A-Za-z0-9+/=\\s]+?)-----END ${label}-----`, 'y')
    rest.lastIndex = index + begin.length
    const base64 = rest.exec(text)?.[1]
    if (base64 !== undefined) return { label, der: Buffer.from(base64, 'base64') }
    throw new Error(`${nameOf(what, position, begins.length)} is cut off or damaged`)
  })
}

/** Names one of several: `certificate 3 of 140`. */
export function nameOf(what: string, position: number, count: number): string {
  return count === 1 ? `a ${what}` : `${what} ${position + 1} of ${count}`
}

/** The certificate in a TRUSTED CERTIFICATE of OpenSSL, whose settings follow it. */
function firstElement(der: Uint8Array): Uint8Array {
  const [tag, length = 0] = der
  if (tag !== 0x30) return der
  if (length < 0x80) return der.subarray(0, 2 + length)
  const digits = length - 0x80
  if (digits < 1 || digits > 4 || der.length < 2 + digits) return der
  const bytes = Buffer.from(der.buffer, der.byteOffset + 2, digits).readUIntBE(0, digits)
  return der.subarray(0, 2 + digits + bytes)
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
