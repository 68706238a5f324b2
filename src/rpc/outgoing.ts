import type { Writable } from 'node:stream'
import type { DescMessage } from '@bufbuild/protobuf'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { FileContent } from '../base/file-content.ts'
import { type Encoded, lengthOf } from './encode-in-turns.ts'

/** A message as it is sent: bytes, and the contents of files that are read while they are sent. */
export type Outgoing = readonly (Uint8Array | FileContent)[]

/** What is read and handed to a connection in one go: TLS encrypts all of it at once. */
export const pieceBytesMax = 256 * 1024

/** The content of a bytes field that is not part of the message: it follows the other fields, and is not copied. */
export interface FieldContent {
  /** The local name of the field. */
  readonly field: string
  readonly content: Outgoing
}

const fieldContent = Symbol('content of a field')

/** Adds a content to the response of a handler. */
export function withContent<R extends object>(response: R, content: FieldContent): R {
  return { ...response, [fieldContent]: content }
}

export function contentOf(response: unknown): FieldContent | undefined {
  return (response as { readonly [fieldContent]?: FieldContent } | undefined)?.[fieldContent]
}

export function followedBy(encoded: Encoded, desc: DescMessage, { field, content }: FieldContent): Outgoing {
  const { number } = desc.field[field] ?? {}
  if (number === undefined) throw new Error(`${desc.typeName} has no field '${field}'`)
  const head = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(lengthOf(content)).finish()
  return [...encoded, head, ...content]
}

/** How many bytes of a message are in memory at once. */
export function heldBytesOf(parts: Outgoing): number {
  return parts.reduce((sum, part) => sum + (part instanceof FileContent ? pieceBytesMax : part.length), 0)
}

/**
 * Returns pieces of at most 256 KiB, each as a function, because one of a file must be read first. Small parts that follow each
 * other are one piece: each piece costs a write of its own. A function that is told that the last piece has been sent may read
 * the next one of the same file into its memory.
 */
export function* piecesOf(parts: Outgoing): Generator<ReadPiece> {
  for (const part of gathered(parts)) {
    if (part instanceof FileContent) yield* piecesOfFile(part)
    else
      for (let start = 0; start < part.length; start += pieceBytesMax)
        yield () => part.subarray(start, start + pieceBytesMax)
  }
}

/**
 * Writes the pieces of a message. `drained` is called when the stream is full, and resolves when it has sent everything or has
 * closed. Ends early, without an error, if the stream closes.
 */
export async function writePieces(stream: Writable, parts: Outgoing, drained: () => Promise<void>): Promise<void> {
  let isLastSent = false
  for (const read of piecesOf(parts)) {
    if (stream.writableEnded || stream.destroyed) return
    const next = read(isLastSent)
    const piece = next instanceof Uint8Array ? next : await next
    if (stream.writableEnded || stream.destroyed) return
    isLastSent = !stream.write(piece)
    if (isLastSent) await drained()
  }
}

type ReadPiece = (isLastSent?: boolean) => Uint8Array | Promise<Uint8Array>

function* piecesOfFile(file: FileContent): Generator<ReadPiece> {
  let last: Uint8Array | undefined
  for (let start = 0; start < file.length; start += pieceBytesMax)
    yield async (isLastSent = false) => {
      last = await file.read(start, pieceBytesMax, isLastSent ? last : undefined)
      return last
    }
}

function* gathered(parts: Outgoing): Generator<Uint8Array | FileContent> {
  let small: Uint8Array[] = []
  for (const part of parts) {
    if (part instanceof Uint8Array && part.length <= smallBytesMax) {
      small.push(part)
      continue
    }
    if (small.length > 0) yield joined(small)
    small = []
    yield part
  }
  if (small.length > 0) yield joined(small)
}

/** A copy of this costs less than a write. */
const smallBytesMax = 4 * 1024

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  return parts.length === 1 && only ? only : Buffer.concat(parts)
}

/** Opens the files: one that is gone must be noticed before the first byte is sent. */
export async function openContents(parts: Outgoing): Promise<void> {
  for (const part of parts) if (part instanceof FileContent) await part.open()
}

export async function closeContents(parts: Outgoing): Promise<void> {
  for (const part of parts) if (part instanceof FileContent) await part.close()
}
