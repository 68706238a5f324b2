import { createHash, createHmac } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isOwnSite } from '../../dashboard/open-streams.ts'
import { safeHeaders } from '../../dashboard/safe-headers.ts'
import { cookieOf, isSame } from '../../dashboard/secret-text.ts'

const cookieName = 'trellis-screen'
/** A form with a token is not larger. */
const formBytesMax = 4096
const formMsMax = 10_000
const daysKept = 365

/** Lets browsers in that know the token. They keep a cookie, which another token in the file makes void. */
export class ScreenToken {
  readonly #digest: string
  readonly #session: string

  constructor(token: string) {
    this.#digest = digestOf(token)
    this.#session = createHmac('sha256', token).update('trellis wall screen').digest('base64url')
  }

  admits(request: IncomingMessage): boolean {
    return isSame(cookieOf(request, cookieName), this.#session)
  }

  /** The page where the token is entered. */
  showEntrance(response: ServerResponse, status: number, sentence: string): void {
    const policy = safeHeaders['content-security-policy'].replace("form-action 'none'", "form-action 'self'")
    response
      .writeHead(status, {
        ...{ ...safeHeaders, 'content-security-policy': policy },
        'content-type': 'text/html; charset=utf-8',
      })
      .end(entrance(sentence))
  }

  /** Reads the form of the entrance. Returns whether the token was right. */
  async enter(request: IncomingMessage, response: ServerResponse, isSecure: boolean): Promise<boolean> {
    const token = isOwnSite(request) ? new URLSearchParams(await readForm(request)).get('token') : null
    if (!isSame(digestOf(token?.trim() ?? ''), this.#digest)) {
      this.showEntrance(response, 403, 'This is not the token of this SuperLink.')
      return false
    }
    const attributes = `HttpOnly; SameSite=Strict; Path=/; Max-Age=${daysKept * 86_400}${isSecure ? '; Secure' : ''}`
    response
      .writeHead(303, {
        ...{ ...safeHeaders, location: '/' },
        'set-cookie': `${cookieName}=${this.#session}; ${attributes}`,
      })
      .end()
    return true
  }
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url')
}

/** Returns an empty text for a form that is too large, of unknown length, or too slow. */
async function readForm(request: IncomingMessage): Promise<string> {
  if (!(Number(request.headers['content-length']) <= formBytesMax)) return ''
  const late = setTimeout(() => request.destroy(), formMsMax)
  const chunks: Buffer[] = []
  try {
    // To the end: a request that is left before would take the connection with it.
    for await (const chunk of request) chunks.push(chunk as Buffer)
  } catch {
    return ''
  } finally {
    clearTimeout(late)
  }
  return Buffer.concat(chunks).toString()
}

function entrance(sentence: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>Trellis</title></head>
<body><main><h1>Trellis</h1><p>${sentence}</p>
<form method="post" action="/enter"><label>Token <input name="token" type="password" autocomplete="current-password" required></label> <button>Show the dashboard</button></form></main></body>
</html>
`
}
