import { UsageError } from '../base/errors.ts'
import { fixedTlsSource } from '../identity/tls-source.ts'
import type { ChannelTls } from './dial.ts'

/**
 * Reads how programs on this machine trust a Runtime API: without TLS, by a CA, or by the system's CAs. The code that reads
 * certificates is loaded only if there is TLS: it is a third of what an app process would load.
 */
export async function readTrust(
  insecure: boolean,
  rootCertificates: string | undefined,
): Promise<{ tls: ChannelTls; trustArguments: readonly string[] }> {
  if (insecure) {
    if (rootCertificates !== undefined)
      throw new UsageError('Conflicting options: give --insecure or --root-certificates, not both.')
    return { tls: 'insecure', trustArguments: ['--insecure'] }
  }
  const roots = rootCertificates === undefined ? undefined : { flag: '--root-certificates', path: rootCertificates }
  const { readClientTls } = await import('../identity/tls-files.ts')
  const { material } = readClientTls({ roots, certfile: undefined, keyfile: undefined, now: Date.now() })
  return { tls: fixedTlsSource(material), trustArguments: roots ? ['--root-certificates', roots.path] : [] }
}
