import { UsageError } from '../base/errors.ts'
import type { OptionValues } from '../base/options.ts'
import { readSecretFile } from '../identity/secret-file.ts'
import { readCertificatesPem } from '../identity/tls-files.ts'
import { isLoopback } from '../rpc/address.ts'
import type { WebhookConfig } from './events/webhook.ts'

const secretFlag = '--webhook-secret-file'
const secretBytes = { min: 24, max: 64 }

/** Reads the flags about the webhook. Throws a UsageError if events could be read or forged on their way. */
export function readWebhook(values: OptionValues): WebhookConfig | undefined {
  const url = values.webhook as string | undefined
  const secretFile = values.webhookSecretFile as string | undefined
  const caFile = values.webhookCaCertfile as string | undefined
  if (url === undefined) {
    const flag = secretFile === undefined ? '--webhook-ca-certfile' : secretFlag
    if (secretFile === undefined && caFile === undefined) return undefined
    throw new UsageError(`${flag} has no effect alone: add --webhook URL.`)
  }
  checkUrl(url)
  if (secretFile === undefined)
    throw new UsageError(`--webhook needs ${secretFlag}: the receiver knows by it that an event is genuine.`)
  const ca = caFile === undefined ? undefined : readCertificatesPem({ flag: '--webhook-ca-certfile', path: caFile })
  return { url, secret: readSecret(secretFile), ca }
}

function checkUrl(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined
  // The URL may hold a secret, so no error shows it.
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    throw new UsageError('--webhook must be an https URL, for example https://alerts.example/trellis.')
  if (url.username !== '' || url.password !== '')
    throw new UsageError('--webhook must not hold a user name or password: the signature proves the sender.')
  if (url.protocol === 'http:' && !isLoopback(url.hostname.replace(/^\[|\]$/g, '')))
    throw new UsageError(
      '--webhook must be an https URL: events name SuperNodes and accounts. Only http://127.0.0.1 is accepted without TLS.',
    )
}

/** As Standard Webhooks writes secrets. */
function readSecret(path: string): Uint8Array {
  const text = Buffer.from(readSecretFile({ flag: secretFlag, path }, 104))
    .toString('utf8')
    .trim()
  const [, encoded = ''] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? []
  const secret = Buffer.from(encoded, 'base64')
  if (secret.length >= secretBytes.min && secret.length <= secretBytes.max) return secret
  throw new UsageError(
    `${secretFlag}: ${path} must hold whsec_ and ${secretBytes.min} to ${secretBytes.max} random bytes in base64. To make one: echo "whsec_$(openssl rand -base64 32)" > ${path}`,
    { flowerCode: 104 },
  )
}
