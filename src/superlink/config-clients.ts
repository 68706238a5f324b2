import { isHttpUrl } from '../base/bounded-fetch.ts'
import { UsageError } from '../base/errors.ts'
import type { OptionValues } from '../base/options.ts'
import { type ClientTrustFiles, readTrustAndPolicy } from '../identity/client-trust.ts'
import type { FileFlag } from '../identity/tls-files.ts'
import type { ClientAuth } from '../rpc/server-tls.ts'

/** Whether and how peers prove their identity by certificates. */
export type ClientCertificates =
  | { readonly mode: 'none' }
  | {
      readonly mode: Exclude<ClientAuth, 'none'>
      readonly files: ClientTrustFiles
      /** Where revocation lists are fetched; then `files` names none. */
      readonly crlUrls: readonly string[]
      /** Absent: no responder is asked. */
      readonly ocsp: { readonly mode: 'lax' | 'strict'; readonly url: string | undefined } | undefined
    }

type OcspChoice = Exclude<ClientCertificates, { mode: 'none' }>['ocsp']

/** Reads the flags about client certificates, and the small ones of their files, for what the operator should know of them. */
export function readClients(values: OptionValues, hasTls: boolean, warnings: string[]): ClientCertificates {
  const asked = values.sslClientAuth as ClientAuth | undefined
  const required = values.sslRequireClientAuth === true
  if (required && asked !== undefined && asked !== 'require') {
    throw new UsageError(
      `--ssl-require-client-auth and --ssl-client-auth ${asked} contradict each other: give one of them.`,
    )
  }
  const mode = required ? 'require' : (asked ?? 'none')
  const flag = required ? '--ssl-require-client-auth' : '--ssl-client-auth'
  if (mode === 'none') {
    for (const [name, sub] of [
      ['sslClientCaCertfile', '--ssl-client-ca-certfile'],
      ['sslClientPolicy', '--ssl-client-policy'],
      ['sslClientCrl', '--ssl-client-crl'],
      ['sslClientOcsp', '--ssl-client-ocsp'],
      ['sslClientOcspUrl', '--ssl-client-ocsp-url'],
    ] as const) {
      if (values[name] !== undefined)
        throw new UsageError(`${sub} has no effect without client certificates: add --ssl-require-client-auth.`)
    }
    return { mode }
  }
  if (values.insecure === true)
    throw new UsageError(`${flag} and --insecure contradict each other: client certificates need TLS.`)
  if (!hasTls) throw new UsageError(`${flag} needs TLS: give --ssl-certfile, --ssl-keyfile and --ssl-ca-certfile.`)
  const caFlag = values.sslClientCaCertfile === undefined ? '--ssl-ca-certfile' : '--ssl-client-ca-certfile'
  const given = (name: string, flag: string): FileFlag | undefined =>
    values[name] === undefined ? undefined : { flag, path: values[name] as string }
  const crlUrls = readUrls('--ssl-client-crl', values.sslClientCrl)
  const files: ClientTrustFiles = {
    ca: { flag: caFlag, path: (values.sslClientCaCertfile ?? values.sslCaCertfile) as string },
    policy: given('sslClientPolicy', '--ssl-client-policy'),
    crl: crlUrls.length > 0 ? undefined : given('sslClientCrl', '--ssl-client-crl'),
  }
  warnings.push(...readTrustAndPolicy(files, Date.now()).warnings)
  return { mode, files, crlUrls, ocsp: readOcsp(values) }
}

function readOcsp({ sslClientOcsp: mode, sslClientOcspUrl: url }: OptionValues): OcspChoice {
  const asks = mode === 'lax' || mode === 'strict'
  if (url === undefined) return asks ? { mode, url } : undefined
  if (!asks) throw new UsageError('--ssl-client-ocsp-url has no effect alone: add --ssl-client-ocsp lax or strict.')
  const [first, ...others] = readUrls('--ssl-client-ocsp-url', url)
  if (first === undefined || others.length > 0)
    throw new UsageError(`--ssl-client-ocsp-url: '${url}' is not an http or https URL.`)
  return { mode, url: first }
}

/** None where the value is not about URLs. */
function readUrls(flag: string, value: OptionValues[string]): string[] {
  if (typeof value !== 'string' || !isHttpUrl(value)) return []
  const urls = value.split(',').map((url) => url.trim())
  const bad = urls.find((url) => !isHttpUrl(url) || !URL.canParse(url))
  if (bad !== undefined) throw new UsageError(`${flag}: '${bad}' is not an http or https URL.`)
  return urls
}
