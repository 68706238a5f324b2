import type { IncomingMessage, ServerResponse } from 'node:http'
import { limits } from '../base/limits.ts'
import { httpErrorBody, type WireError } from './translate-errors.ts'

/** Sends Flower's JSON error. The connection is kept unless more of the request is to come than is worth discarding. */
export function sendError(request: IncomingMessage, response: ServerResponse, error: WireError): void {
  if (error.refusalReason) response.setHeader('trellis-refusal-reason', error.refusalReason)
  if (error.retryAfterSeconds) response.setHeader('retry-after', error.retryAfterSeconds)
  const announced = Number(request.headers['content-length'] ?? 0)
  const isNotWorthIt = announced > limits.discardedBytesMax || error.status === 'deadline-exceeded'
  if (!request.readableEnded && isNotWorthIt) response.setHeader('connection', 'close')
  sendJson(response, error.httpStatus, httpErrorBody(error))
}

export function sendJson(response: ServerResponse, status: number, body: string): void {
  const bytes = Buffer.from(body)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length })
  response.end(bytes)
}
