import { UsageError } from '../../base/errors.ts'

/** A part of a bucket, as `--storage s3://…` names it. It holds no secret. */
export interface BucketTarget {
  readonly bucket: string
  /** Empty, or ends in a slash. */
  readonly prefix: string
  readonly region: string
  /** The URL of the bucket, without a slash at its end. */
  readonly url: string
  /** How messages name it. */
  readonly label: string
}

export function isBucketUrl(text: string): boolean {
  return /^s3:\/\//i.test(text)
}

const form = 's3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=REGION'
const parameters = ['endpoint', 'region', 'insecure']

/**
 * Reads the URL that a flag has. Without an endpoint it is a bucket of Amazon S3. Throws a UsageError with a remedy, which
 * never repeats the URL: it could hold a password.
 */
export function parseBucketUrl(text: string, flag: string): BucketTarget {
  const refuse = (what: string): UsageError => new UsageError(`${flag}: ${what}`)
  const [, place = '', query = ''] = /^s3:\/\/([^?#]*)(?:\?([^#]*))?$/i.exec(text.trim()) ?? []
  if (place.includes('@'))
    throw refuse(
      'a key in the URL could be read by every user of this machine: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use --storage-credentials-file.',
    )
  const [bucket = '', ...folders] = place.split('/')
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket))
    throw refuse(`the URL names no bucket, or one with characters that buckets cannot have: its form is ${form}.`)
  const names = folders.filter((name) => name !== '')
  if (!names.every((name) => /^[\w.-]+$/.test(name) && !/^\.+$/.test(name)))
    throw refuse('the prefix can have letters, digits, and the characters - _ . and / only.')
  const given = new URLSearchParams(query)
  for (const name of given.keys())
    if (!parameters.includes(name))
      throw refuse(`the URL has an unknown option ${name}: known are ${parameters.join(', ')}.`)
  const region = given.get('region') ?? 'us-east-1'
  if (!/^[\w-]+$/.test(region)) throw refuse('the region can have letters, digits, - and _ only.')
  return {
    ...{ bucket, region, prefix: names.map((name) => `${name}/`).join('') },
    url: urlOf(bucket, region, given, refuse),
    label: ['s3:/', bucket, ...names].join('/'),
  }
}

/** Servers other than Amazon's may know no host names for buckets; a name with dots fits no certificate of Amazon's. */
function urlOf(bucket: string, region: string, given: URLSearchParams, refuse: (what: string) => UsageError): string {
  const endpoint = given.get('endpoint')
  if (endpoint === null) {
    const domain = `s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`
    return bucket.includes('.') ? `https://${domain}/${bucket}` : `https://${bucket}.${domain}`
  }
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  const isOrigin = url && url.username === '' && url.password === '' && url.search === '' && url.pathname === '/'
  if (!isOrigin || !/^https?:$/.test(url.protocol))
    throw refuse('the endpoint must be the address of an S3 server, such as https://s3.example.com:9000.')
  if (url.protocol === 'http:' && !isThisMachine(url.hostname) && given.get('insecure') !== 'true')
    throw refuse(
      'over http, other machines of the network can read models: use an https endpoint, or add &insecure=true for a network that you trust.',
    )
  return `${url.origin}/${bucket}`
}

function isThisMachine(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\./.test(host)
}
