import type { Agent, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { request as sendRequest } from 'node:http'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AwsV4Signer } from 'aws4fetch'
import { openAgent } from '../../base/bounded-fetch.ts'
import { limits } from '../../base/limits.ts'
import { backoffMs } from '../../base/retry.ts'
import type { BucketCredentials, CredentialSource } from './bucket-credentials.ts'
import { BucketError, errorOfConnection, errorOfCredentials, errorOfRefusal } from './bucket-errors.ts'
import type { BucketTarget } from './bucket-target.ts'
import { textIn } from './bucket-xml.ts'

export interface BucketAccess {
  readonly target: BucketTarget
  readonly credentials: CredentialSource
  /** Trusted beside the public CAs; PEM. */
  readonly ca?: readonly string[] | undefined
  readonly sleep: (ms: number) => Promise<void>
  /** How long a connection may stand still; for tests. */
  readonly idleMs?: number
  /** Called after each request that was sent, with how it ended. */
  readonly onRequest?: (action: Action, result: 'ok' | 'failed') => void
}

/** As rights and metrics name what is asked. */
export type Action = 'get' | 'put' | 'delete' | 'list'

export interface BucketRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly action: Action
  /** Below the bucket; absent: the bucket itself. */
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  /** Opened for each attempt. */
  readonly body?: { readonly open: () => Readable | Uint8Array; readonly length: number; readonly sha256: string }
  readonly headers?: Readonly<Record<string, string>>
  /** Takes the body of a response with success; an error that it throws is that of the request. Called for each attempt. */
  readonly receive?: (body: Readable, length: number | undefined) => Promise<void>
  /** Statuses besides 2xx that the caller wants to see. */
  readonly expected?: readonly number[]
  readonly attemptsMax?: number
}

export interface BucketResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Unless it was received; bounded. */
  readonly text: string
}

/** What a server says of an object or upload that is not there; also, versitygw reports an unknown user with status 404. */
const absent = new Set(['', 'NoSuchKey', 'NoSuchObject', 'NotFound', 'NoSuchUpload', 'NoSuchVersion'])

const sha256OfNothing = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/**
 * Sends signed requests to an S3 server, and tries again with growing pauses if it is busy or the connection is cut. Throws a
 * BucketError otherwise.
 */
export class BucketRequests implements Disposable {
  readonly target: BucketTarget
  readonly #access: BucketAccess
  readonly #idleMs: number
  readonly #agent: Agent
  readonly #signingKeys = new Map<string, ArrayBuffer>()

  constructor(access: BucketAccess) {
    this.target = access.target
    this.#access = access
    this.#idleMs = access.idleMs ?? limits.bucketIdleMs
    this.#agent = openAgent(new URL(this.target.url).protocol, access.ca, {
      keepAlive: true,
      maxSockets: limits.bucketRequestsAtOnce,
      // Servers close idle connections, often after a minute.
      timeout: this.#idleMs,
    })
  }

  async send(request: BucketRequest): Promise<BucketResponse> {
    const pauses = backoffMs({ baseMs: limits.bucketRetryBaseMs, capMs: limits.bucketRetryCapMs })
    const attemptsMax = request.attemptsMax ?? limits.bucketAttemptsMax
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#sendOnce(request)
        this.#access.onRequest?.(request.action, 'ok')
        return response
      } catch (error) {
        this.#access.onRequest?.(request.action, 'failed')
        if (!(error instanceof BucketError) || error.isFinal || attempt >= attemptsMax) throw error
      }
      await this.#access.sleep(pauses.next().value)
    }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }

  async #sendOnce(request: BucketRequest): Promise<BucketResponse> {
    const { method, body, action, receive, expected = [] } = request
    const signed = await this.#sign(request)
    const abort = new AbortController()
    let deadline: NodeJS.Timeout | undefined
    // The wait for a connection does not count: each request before this one has its own deadline.
    const onSocket = (): void => {
      deadline = setTimeout(() => abort.abort(), limits.bucketAttemptMs)
    }
    try {
      const response = await this.#exchange(signed, method, body?.open(), { signal: abort.signal, onSocket })
      const status = response.statusCode ?? 0
      const isGood = (status >= 200 && status < 300) || expected.includes(status)
      if (isGood && receive && status < 300) {
        const length = response.headers['content-length']
        await receive(response, length === undefined ? undefined : Number(length))
        return { status, headers: response.headers, text: '' }
      }
      const text = await readText(response)
      const code = textIn(text, 'Code') ?? ''
      // A multipart upload is completed with status 200, and its failure may stand in the body.
      if (isGood && status < 300 && !/<Error>/.test(text)) return { status, headers: response.headers, text }
      if (expected.includes(status) && (status !== 404 || absent.has(code)))
        return { status, headers: response.headers, text }
      throw errorOfRefusal(this.target, action, {
        ...{ status: status < 300 ? 500 : status, code },
        region: textIn(text, 'Region') ?? headerOf(response, 'x-amz-bucket-region'),
        date: response.headers.date ? new Date(response.headers.date) : undefined,
      })
    } catch (error) {
      if (error instanceof BucketError || !(error instanceof Error)) throw error
      if (isLocal(error)) throw error
      throw abort.signal.aborted ? this.#tooSlow(error) : errorOfConnection(this.target, error)
    } finally {
      clearTimeout(deadline)
    }
  }

  #tooSlow(cause: Error): BucketError {
    const seconds = limits.bucketAttemptMs / 1000
    return new BucketError(`${this.target.label} is too slow: a request took more than ${seconds} s.`, {
      ...{ isFinal: false, cause },
    })
  }

  async #sign({ method, key, query, body, headers }: BucketRequest): Promise<{ url: URL; headers: Headers }> {
    const { accessKeyId, secretAccessKey, sessionToken } = await this.#credentials()
    const url = new URL(`${this.target.url}/${key ?? ''}`)
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value)
    // The day's keys are kept; a few are enough.
    if (this.#signingKeys.size > 8) this.#signingKeys.clear()
    const signer = new AwsV4Signer({
      ...{ method, url: url.href, service: 's3', region: this.target.region, cache: this.#signingKeys },
      ...{ accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
      headers: { ...headers, 'x-amz-content-sha256': body?.sha256 ?? sha256OfNothing },
    })
    const signed = await signer.sign()
    if (body) signed.headers.set('content-length', String(body.length))
    return signed
  }

  async #credentials(): Promise<BucketCredentials> {
    try {
      return await this.#access.credentials()
    } catch (error) {
      throw errorOfCredentials(this.target, error)
    }
  }

  #exchange(
    { url, headers }: { readonly url: URL; readonly headers: Headers },
    method: string,
    body: Readable | Uint8Array | undefined,
    { signal, onSocket }: { readonly signal: AbortSignal; readonly onSocket: () => void },
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = sendRequest(url, {
        ...{ method, agent: this.#agent, signal },
        headers: Object.fromEntries(headers.entries()),
      })
      request.setTimeout(this.#idleMs, () =>
        request.destroy(Object.assign(new Error('no response'), { code: 'ETIMEDOUT' })),
      )
      request.once('socket', onSocket)
      request.once('response', resolve)
      // Also after the response: a body that is cut reports it by itself.
      request.on('error', reject)
      if (body === undefined || body instanceof Uint8Array) request.end(body)
      else pipeline(body, request).catch(reject)
    })
  }
}

/** Errors of our own disk are not those of the server. */
function isLocal({ code, syscall }: NodeJS.ErrnoException): boolean {
  return /^(ENOSPC|EDQUOT|EACCES|ENOENT|EIO|EROFS|EMFILE|ENFILE)$/.test(code ?? '') && syscall !== 'connect'
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    size += (chunk as Buffer).length
    if (size > limits.bucketResponseBytesMax) throw new Error('the response is too long')
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function headerOf({ headers }: IncomingMessage, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}
