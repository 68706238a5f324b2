import type { RunId } from '../base/ids.ts'
import type { Message as WireMessage } from '../gen/flwr/proto/message_pb.ts'
import type { Metadata } from '../message/message.ts'
import type { CarriedObjects } from '../objects/carried-objects.ts'
import type { ObjectTree } from '../objects/object-tree.ts'
import type { Task } from '../tasks/task.ts'

/**
 * One instruction that a ClientApp executes, at a SuperNode or a virtual node of a simulation, with what the app has handed
 * over so far. How instructions come and where replies go is the business of the program.
 */
export interface Execution {
  readonly metadata: Metadata
  readonly runId: RunId
  readonly wire: WireMessage
  readonly tree: ObjectTree
  /** The reply of the app, once the app has begun to send it. */
  reply: ClientReply | undefined
  /** The last reply whose transaction was committed. */
  storedReply: ClientReply | undefined
  /** The app has handed over its state too. Without that the reply would be a success that lost it. */
  isFinal: boolean
  /** How long the app took, once it has ended. */
  runtimeSeconds: number | undefined
  readonly expiry: NodeJS.Timeout
}

export interface ClientReply {
  readonly wire: WireMessage
  readonly tree: ObjectTree
  /** Objects of the reply that the app has not handed over yet. */
  readonly missing: Set<string>
  /** Objects that the app has left as files, which stay where they are, with their sizes. */
  readonly left?: Map<string, number>
  /** All objects of a small reply, which the app has handed over with it. They are not in the object store. */
  readonly carried?: CarriedObjects
}

/** `onExpired` is called when the instruction expires. */
export function beginExecution(
  instruction: Pick<Execution, 'metadata' | 'wire' | 'tree'>,
  onExpired: () => void,
  now: number,
): Execution {
  const { metadata } = instruction
  const restMs = (metadata.createdAt + metadata.ttl) * 1000 - now
  return {
    ...instruction,
    runId: metadata.runId as RunId,
    reply: undefined,
    storedReply: undefined,
    isFinal: false,
    runtimeSeconds: undefined,
    expiry: setTimeout(onExpired, Math.min(Math.max(restMs, 0), timerMsMax)).unref(),
  }
}

/** The longest that a timer can run. */
const timerMsMax = 2 ** 31 - 1

/** Returns the reply if it and the state of the app have arrived whole. */
export function wholeReplyOf({ reply, isFinal }: Execution): ClientReply | undefined {
  return isFinal && reply?.missing.size === 0 ? reply : undefined
}

/** Why there is no whole reply. */
export function lostReplyReason({ details }: Task): string {
  return `ClientApp stopped responding. ${details}`.trim()
}

/** Why an execution ends that has taken too long. */
export const expiredDetails = 'The ClientApp did not answer before its message expired.'
