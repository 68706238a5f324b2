import { readByteSize } from '../base/byte-size.ts'
import { UsageError } from '../base/errors.ts'
import type { OptionRow, OptionValues } from '../base/options.ts'
import { readCertificatesPem } from '../identity/tls-files.ts'
import { type CredentialSource, credentialsInFile } from '../objects/bucket/bucket-credentials.ts'
import { type BucketTarget, isBucketUrl, parseBucketUrl } from '../objects/bucket/bucket-target.ts'

/** A bucket for large objects. */
export interface StorageConfig {
  readonly target: BucketTarget
  readonly credentials: CredentialSource
  readonly ca: readonly string[] | undefined
  readonly cacheBytesMax: number
}

const cacheFlag = '--storage-cache-size'

/** Options that name a bucket, also for the commands that look at what is stored. */
export const bucketRows: readonly OptionRow[] = [
  {
    flags: '--storage <url>',
    help: 'S3 bucket for large objects: s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION; by default a folder has them',
  },
  {
    flags: '--storage-credentials-file <path>',
    help: 'file with the keys for the bucket, like ~/.aws/credentials; by default AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
  },
  {
    flags: '--storage-ca-certfile <path>',
    help: 'PEM file with the CA of the certificate of the S3 server, beside the public ones',
  },
]

export const storageRows: readonly OptionRow[] = [
  ...bucketRows,
  {
    flags: `${cacheFlag} <size>`,
    help: 'size of the copies of objects of the bucket in --storage-dir, e.g. 500M or 20G',
    default: '10G',
  },
]

/** Returns the bucket of `--storage`. Throws a UsageError if it is wrong or keys are missing. */
export function readStorage(
  values: OptionValues,
  { memory, simulation }: { readonly memory: boolean; readonly simulation: boolean } = {
    memory: false,
    simulation: false,
  },
  environment: NodeJS.ProcessEnv = process.env,
): StorageConfig | undefined {
  const url = values.storage as string | undefined
  const caFile = values.storageCaCertfile as string | undefined
  const credentialsFile = values.storageCredentialsFile as string | undefined
  if (url === undefined) {
    const alone = credentialsFile === undefined ? caFile && '--storage-ca-certfile' : '--storage-credentials-file'
    if (alone) throw new UsageError(`${alone} has no effect alone: add --storage s3://BUCKET/PREFIX.`)
    return undefined
  }
  if (!isBucketUrl(url))
    throw new UsageError('--storage must be a URL such as s3://BUCKET/PREFIX; a folder is named with --storage-dir.')
  if (memory || simulation)
    throw new UsageError(
      `--storage needs a state that is kept: ${simulation ? 'leave it out with --simulation' : 'give --database too'}.`,
    )
  const size = values.storageCacheSize as string | undefined
  return {
    target: parseBucketUrl(url, '--storage'),
    credentials: credentialsFile === undefined ? inEnvironment(environment) : credentialsInFile(credentialsFile),
    ca: caFile === undefined ? undefined : [readCertificatesPem({ flag: '--storage-ca-certfile', path: caFile })],
    cacheBytesMax: size === undefined ? 0 : readByteSize(size, cacheFlag, { min: '1M', max: '1024T', example: '20G' }),
  }
}

/** Takes the keys out of the environment, so that apps do not inherit them. */
function inEnvironment(environment: NodeJS.ProcessEnv): CredentialSource {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = environment
  if (!accessKeyId || !secretAccessKey)
    throw new UsageError(
      '--storage needs keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file with --storage-credentials-file.',
    )
  delete environment.AWS_ACCESS_KEY_ID
  delete environment.AWS_SECRET_ACCESS_KEY
  delete environment.AWS_SESSION_TOKEN
  const credentials = { accessKeyId, secretAccessKey, sessionToken: sessionToken || undefined }
  return async () => credentials
}
