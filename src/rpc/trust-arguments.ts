import { UsageError } from '../base/errors.ts'
import { readClientTls } from '../identity/tls-files.ts'
import { fixedTlsSource } from '../identity/tls-source.ts'
import type { ChannelTls } from './dial.ts'

/** How programs on this machine are told to trust a Runtime API: plainly, by a CA, or by the system's CAs. */
export function readTrust(
  insecure: boolean,
  rootCertificates: string | undefined,
): { tls: ChannelTls; trustArguments: readonly string[] } {
  if (insecure) {
    if (rootCertificates !== undefined)
      throw new UsageError('Conflicting options: give --insecure or --root-certificates, not both.')
    return { tls: 'insecure', trustArguments: ['--insecure'] }
  }
  const roots = rootCertificates === undefined ? undefined : { flag: '--root-certificates', path: rootCertificates }
  const { material } = readClientTls({ roots, certfile: undefined, keyfile: undefined, now: Date.now() })
  return { tls: fixedTlsSource(material), trustArguments: roots ? ['--root-certificates', roots.path] : [] }
}
