import { UsageError } from '../base/errors.ts'
import type { OptionValues } from '../base/options.ts'
import { readSecretFile } from '../identity/secret-file.ts'
import { isLoopback, parseAddress } from '../rpc/address.ts'
import type { ClientCertificates } from './config-clients.ts'

/** The page for a wall screen. */
export interface DashboardConfig {
  readonly address: string
  /** Lets browsers in without a certificate. */
  readonly token: string | undefined
}

const addressFlag = '--dashboard-address'
const tokenFlag = '--dashboard-token-file'
/** Shorter tokens can be guessed. */
const tokenLengthMin = 32

/** Reads the flags about the wall screen. Throws a UsageError if the page could be read by others. */
export function readDashboard(
  values: OptionValues,
  { clients, hasTls }: { clients: ClientCertificates; hasTls: boolean },
): DashboardConfig | undefined {
  const address = values.dashboardAddress as string | undefined
  const tokenFile = values.dashboardTokenFile as string | undefined
  if (address === undefined) {
    if (tokenFile === undefined) return undefined
    throw new UsageError(`${tokenFlag} has no effect alone: add ${addressFlag} ADDRESS.`)
  }
  const { host } = parseAddress(address, addressFlag)
  if (tokenFile === undefined) {
    if (clients.mode !== 'none') return { address, token: undefined }
    throw new UsageError(
      `${addressFlag} needs client certificates (--ssl-require-client-auth) or a token (${tokenFlag}): without them any browser could read the page.`,
    )
  }
  if (!hasTls && !isLoopback(host))
    throw new UsageError(
      `${addressFlag} ${address} with ${tokenFlag} needs TLS: others on the way could read the token. Without TLS, use an address of this machine, such as 127.0.0.1:8080.`,
    )
  return { address, token: readToken(tokenFile) }
}

function readToken(path: string): string {
  const token = Buffer.from(readSecretFile({ flag: tokenFlag, path }, 104))
    .toString('utf8')
    .trim()
  if (token.length >= tokenLengthMin) return token
  throw new UsageError(
    `${tokenFlag}: ${path} must hold at least ${tokenLengthMin} characters. To make a token: openssl rand -base64 32 > ${path}`,
    { flowerCode: 104 },
  )
}
