import { limits } from '../../base/limits.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import type { CallHead } from '../../rpc/call.ts'
import type { Interceptor } from '../../rpc/interceptor.ts'
import type { CalledMethod } from '../../rpc/service.ts'
import type { Node, NodeCredential } from './node.ts'

/**
 * The key of a SuperNode, or the identity in its certificate. SuperNodes that share an identity count as one, and so do those
 * that prove nothing.
 */
type Uploader = string

/**
 * Knows which SuperNodes are uploading objects, from the head of a call on: one object may take minutes. An upload that is
 * refused is a sign of life too, because its SuperNode tries again.
 */
export class Uploads {
  /** Milliseconds of a clock that never jumps, by which uploads are timed. */
  readonly monotonicNow: () => number
  readonly #open = new Map<CallHead, Uploader>()
  /** When the last upload of each ended; those that ended last are at the end. */
  readonly #endedAt = new Map<Uploader, number>()

  constructor(monotonicNow: () => number = () => performance.now()) {
    this.monotonicNow = monotonicNow
  }

  get interceptor(): Interceptor {
    return {
      onCaller: (head, method, caller) => {
        if (isUpload(method)) this.#open.set(head, uploaderOf(caller as { readonly credential: NodeCredential }))
      },
      onResponse: (head, method) => this.#end(head, method),
      onError: (head, method) => this.#end(head, method),
    }
  }

  /** The last instant at which the SuperNode was uploading something, or 0. Ends of long ago are forgotten. */
  lastAt(node: Pick<Node, 'authMethod' | 'identity' | 'publicKey'>): number {
    const now = this.monotonicNow()
    const uploader = node.authMethod === 'none' ? 'unproven' : nameOf(node)
    for (const one of this.#open.values()) if (one === uploader) return now
    this.#forgetOld(now)
    return this.#endedAt.get(uploader) ?? 0
  }

  /** How many ends of uploads are remembered. */
  get size(): number {
    return this.#endedAt.size
  }

  #forgetOld(now: number): void {
    for (const [uploader, endedAt] of this.#endedAt) {
      if (now - endedAt < limits.replyQuietMs) break
      this.#endedAt.delete(uploader)
    }
  }

  #end(head: CallHead, method: CalledMethod): void {
    if (!isUpload(method)) return
    const uploader = this.#open.get(head)
    if (uploader === undefined) return
    this.#open.delete(head)
    const now = this.monotonicNow()
    this.#forgetOld(now)
    this.#endedAt.delete(uploader)
    this.#endedAt.set(uploader, now)
  }
}

function uploaderOf({ credential }: { readonly credential: NodeCredential }): Uploader {
  if (credential.kind === 'none') return 'unproven'
  return nameOf(credential.kind === 'key' ? credential : credential.peer)
}

function nameOf({ identity, publicKey }: { identity?: string | undefined; publicKey?: string | undefined }): Uploader {
  return identity === undefined ? `key ${publicKey}` : `identity ${identity}`
}

function isUpload({ service, name }: CalledMethod): boolean {
  return service === Fleet.typeName && name === Fleet.method.pushObject.localName
}
