import { readFile } from 'node:fs/promises'
import { errorText, UsageError } from '../../base/errors.ts'

/** Keys for an S3 server. */
export interface BucketCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string | undefined
}

/** Returns the credentials for the next request. */
export type CredentialSource = () => Promise<BucketCredentials>

/**
 * Reads the file of `--storage-credentials-file` before each request, so that keys can be replaced while the program runs. It
 * has the form of `~/.aws/credentials`; the profile `default` counts, or else the first one.
 */
export function credentialsInFile(path: string): CredentialSource {
  return async () => {
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (error) {
      throw new UsageError(`--storage-credentials-file: ${path} cannot be read (${errorText(error)}).`)
    }
    const profiles = readProfiles(text)
    const profile = profiles.get('default') ?? [...profiles.values()][0]
    const accessKeyId = profile?.get('aws_access_key_id')
    const secretAccessKey = profile?.get('aws_secret_access_key')
    if (!accessKeyId || !secretAccessKey)
      throw new UsageError(
        `--storage-credentials-file: ${path} must hold the lines aws_access_key_id = … and aws_secret_access_key = … under [default].`,
      )
    return { accessKeyId, secretAccessKey, sessionToken: profile?.get('aws_session_token') }
  }
}

function readProfiles(text: string): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const profiles = new Map<string, Map<string, string>>()
  let profile = new Map<string, string>()
  for (const line of text.split(/\r?\n/).map((line) => line.trim())) {
    const [, title] = /^\[\s*(.*?)\s*\]$/.exec(line) ?? []
    if (title !== undefined) {
      profile = new Map()
      profiles.set(title, profile)
      continue
    }
    const [, name, value] = /^(\w+)\s*=\s*(\S.*)$/.exec(line) ?? []
    if (name === undefined || value === undefined) continue
    if (profiles.size === 0) profiles.set('', profile)
    profile.set(name.toLowerCase(), value)
  }
  return profiles
}
