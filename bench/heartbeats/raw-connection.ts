import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'

/**
 * The client half of HTTP/2 with as little work for each call as possible: a load generator on the machine of the server takes
 * processor time from it. Requests are frames made in advance, of which only the number of the stream differs. Of a response
 * it reads the body alone: headers and trailers are skipped, so a refusal is a response without a body.
 */
export class RawConnection implements Disposable {
  readonly #socket: TLSSocket
  readonly #calls = new Map<number, Call>()
  #streamId = 1
  #rest: Buffer = Buffer.alloc(0)
  /** Bytes of bodies that the server does not yet know to have been read. */
  #unreported = 0

  private constructor(socket: TLSSocket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('error', () => {})
    socket.on('close', () => this.#fail('the connection closed'))
  }

  static async open(peer: RawPeer): Promise<RawConnection> {
    const socket = connect({ ...peer, ALPNProtocols: ['h2'], servername: 'localhost' })
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(openMs) })
    socket.setNoDelay(true)
    // No headers are kept for later ones, so that each block of headers stands for itself.
    socket.write(
      Buffer.concat([Buffer.from(preface), frameOf(frames.settings, 0, 0, Buffer.from('000100000000', 'hex'))]),
    )
    return new RawConnection(socket)
  }

  /** Sends a request and returns the body of the response, which is empty if the server refused the call. */
  call({ headers, body }: RawRequest): Promise<Buffer> {
    const streamId = this.#streamId
    this.#streamId += 2
    const sent = Buffer.concat([
      frameOf(frames.headers, endHeaders, streamId, headers),
      frameOf(frames.data, endStream, streamId, body),
    ])
    // What the responses of one chunk cause is written together.
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork()
      process.nextTick(() => this.#socket.uncork())
    }
    this.#socket.write(sent)
    return new Promise((resolve, reject) => this.#calls.set(streamId, { resolve, reject, body: nothing }))
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let start = 0
    while (bytes.length - start >= headBytes) {
      const end = start + headBytes + bytes.readUIntBE(start, 3)
      if (bytes.length < end) break
      const [type = 0, flags = 0] = bytes.subarray(start + 3, start + 5)
      this.#take(type, flags, bytes.readUInt32BE(start + 5), bytes.subarray(start + headBytes, end))
      start = end
    }
    this.#rest = bytes.subarray(start)
    if (this.#unreported < reportBytes) return
    const read = Buffer.alloc(4)
    read.writeUInt32BE(this.#unreported)
    this.#unreported = 0
    this.#socket.write(frameOf(frames.windowUpdate, 0, 0, read))
  }

  #take(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (type === frames.settings && (flags & ack) === 0) this.#socket.write(frameOf(frames.settings, ack, 0, nothing))
    if (type === frames.ping && (flags & ack) === 0) this.#socket.write(frameOf(frames.ping, ack, 0, payload))
    if (type === frames.goAway) this.#fail('the server ends the connection')
    const call = this.#calls.get(streamId)
    if (!call) return
    if (type === frames.data) {
      this.#unreported += payload.length
      call.body = call.body.length === 0 ? payload : Buffer.concat([call.body, payload])
    }
    const isReset = type === frames.reset
    if (!isReset && (flags & endStream) === 0) return
    this.#calls.delete(streamId)
    if (isReset) call.reject(new Error('the server reset the call'))
    else call.resolve(call.body)
  }

  #fail(reason: string): void {
    for (const { reject } of this.#calls.values()) reject(new Error(reason))
    this.#calls.clear()
  }
}

export interface RawPeer {
  readonly host: string
  readonly port: number
  readonly ca: string
  readonly cert?: string
  readonly key?: string
}

export interface RawRequest {
  /** Encoded by {@link headersOf}. */
  readonly headers: Buffer
  readonly body: Buffer
}

interface Call {
  readonly resolve: (body: Buffer) => void
  readonly reject: (error: Error) => void
  body: Buffer
}

const openMs = 60_000
const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const headBytes = 9
const frames = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const
const [endStream, endHeaders, ack] = [0x1, 0x4, 0x1]
const nothing = Buffer.alloc(0)
/** Half of the window that a connection has at first. */
const reportBytes = 32_000

function frameOf(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + payload.length)
  frame.writeUIntBE(payload.length, 0, 3)
  frame[3] = type
  frame[4] = flags
  frame.writeUInt32BE(streamId, 5)
  frame.set(payload, headBytes)
  return frame
}

/** Encodes the headers of a gRPC call as literals (HPACK). */
export function headersOf(path: string, more: Readonly<Record<string, string>> = {}): Buffer {
  const headers = {
    ...{ ':method': 'POST', ':scheme': 'https', ':path': path, ':authority': 'localhost' },
    ...{ 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': '60S', ...more },
  }
  const literals = Object.entries(headers).map(([name, value]) => [Buffer.of(0), textOf(name), textOf(value)])
  return Buffer.concat(literals.flat())
}

function textOf(text: string): Buffer {
  const length: number[] = []
  if (text.length < 127) length.push(text.length)
  else {
    length.push(127)
    let left = text.length - 127
    for (; left >= 128; left >>= 7) length.push((left & 127) | 128)
    length.push(left)
  }
  return Buffer.concat([Buffer.from(length), Buffer.from(text, 'latin1')])
}
