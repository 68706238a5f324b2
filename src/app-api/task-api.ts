import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import type { ContentSink } from '../base/content-sink.ts'
import type { FabSchema } from '../gen/flwr/proto/fab_pb.ts'
import type {
  ConfirmMessageReceivedRequestSchema,
  ContextSchema,
  MessageSchema,
  ObjectTree,
  PullObjectRequestSchema,
  PullObjectResponseSchema,
  PushObjectRequestSchema,
  PushObjectResponseSchema,
} from '../gen/flwr/proto/message_pb.ts'
import type { NodeInfoSchema } from '../gen/flwr/proto/node_pb.ts'
import type { RunSchema } from '../gen/flwr/proto/run_pb.ts'
import type { PullAppMessagesResponseSchema, PushAppMessagesResponseSchema } from '../gen/flwr/proto/runtime_pb.ts'

/** The programs that run apps. */
export type AppProgram = 'flwr-serverapp' | 'flwr-clientapp'

/** The API for apps of a SuperLink or SuperNode: tasks over HTTP, or runs over the two gRPC services of Flower 1.29. */
export type AppGeneration = 'runtime' | 'appio'

/** What a task is to be done with. */
export interface TaskInput {
  readonly context: MessageShape<typeof ContextSchema>
  readonly run: MessageShape<typeof RunSchema>
  readonly fab: MessageShape<typeof FabSchema> | undefined
  /** Whether what a ClientApp prints is part of the log of the run, as in a simulation. */
  readonly wantsLogs?: boolean
  /** Absent where the server knows runs only. */
  readonly taskId: bigint | undefined
  /** The message of a ClientApp, if the server sent it along. It need not be confirmed. */
  readonly message?: WholeMessage
}

/** A small message with all its objects. */
export interface WholeMessage {
  readonly wire: MessageShape<typeof MessageSchema>
  readonly tree: ObjectTree
  readonly objects: readonly Uint8Array[]
}

/** The input of a ClientApp with its message. */
export type WholeInput = TaskInput & { readonly message: WholeMessage }

/** What a ClientApp wants with its input; servers of Flower do not know this. */
export interface InputWishes {
  /** How many bytes the objects of a message may have that comes along. */
  readonly objectsBytesMax?: number
  /** An app that this program has. */
  readonly fabHash?: string
}

/** How a task ended. */
export interface TaskOutcome {
  readonly context?: MessageInitShape<typeof ContextSchema>
  readonly subStatus: 'completed' | 'failed'
  readonly details: string
  /** Set by a SuperExec: the process of the app has ended without a report of its own. */
  readonly processLost?: boolean
  /** Seconds that a ClientApp took. */
  readonly clientappRuntime?: number
  /** The reply of a ClientApp, if its objects have no more bytes than `objectsBytesMax`. */
  readonly reply?: WholeMessage
}

export interface OutgoingMessages {
  readonly messagesList: MessageInitShape<typeof MessageSchema>[]
  readonly messageObjectTrees: ObjectTree[]
  /** Objects of the messages; none unless the server takes them along. */
  readonly objects?: Uint8Array[]
  /** Whether large objects can be left as files, if the server names a folder. */
  readonly leavesFiles?: boolean
}

/** An answer, and whether the server held the call: then the next may follow at once. */
export type Held<T> = T & { readonly waited: boolean }

/**
 * What one task asks of the SuperLink or SuperNode that it belongs to, in either generation. Calls are tried again while
 * the server cannot be reached. Throws a {@link TaskEndedError} when the server has ended the task, and an RpcError for
 * what no waiting would mend.
 */
/** What an app reports of itself. */
export interface TaskEvent {
  readonly timestamp: string
  readonly event: string
  /** JSON */
  readonly data: string
}

export interface TaskApi {
  /** Aborted when this process stops or the task was ended. */
  readonly signal: AbortSignal
  /**
   * How many bytes of objects may travel with messages, or with the output of a ClientApp, once the input has come; 0 at
   * servers of Flower. Servers that take objects along also take several confirmations in one call.
   */
  readonly objectsBytesMax: number
  pullInput(wishes?: InputWishes): Promise<TaskInput>
  /**
   * Returns the input with the message of a ClientApp, or `undefined` if the message cannot come along: then the task has not
   * started. Only for servers of ours.
   */
  pullWholeInput(wishes: InputWishes): Promise<WholeInput | undefined>
  /** Returns whether the task still goes on. */
  sendHeartbeat(options: { waitMs: number }): Promise<Held<{ success: boolean }>>
  /**
   * Returns replies to these messages; a ClientApp names none and receives the message of its task. With `wantsAll` it
   * returns every message to the app if the server can, those that reply to nothing included.
   */
  pullMessages(
    messageIds: string[] | undefined,
    options?: { waitMs?: number; signal?: AbortSignal; wantsAll?: boolean; objectsBytesMax?: number },
  ): Promise<Held<MessageShape<typeof PullAppMessagesResponseSchema>>>
  pushMessages(messages: OutgoingMessages): Promise<MessageShape<typeof PushAppMessagesResponseSchema>>
  pushObject(
    request: MessageInitShape<typeof PushObjectRequestSchema>,
  ): Promise<MessageShape<typeof PushObjectResponseSchema>>
  pullObject(
    request: MessageInitShape<typeof PullObjectRequestSchema>,
    options: { waitMs: number; signal?: AbortSignal; sinkFor?: (length: number) => ContentSink },
  ): Promise<Held<MessageShape<typeof PullObjectResponseSchema>>>
  confirmMessageReceived(request: MessageInitShape<typeof ConfirmMessageReceivedRequestSchema>): Promise<void>
  /** Waits a while for another number of nodes than `knownNodes`, where the server can. */
  getNodes(options?: { knownNodes?: number }): Promise<MessageShape<typeof NodeInfoSchema>[]>
  pushLogs(logs: string[]): Promise<void>
  /** Tells the followers of the run; servers without events are not called. */
  pushEvents(events: readonly TaskEvent[]): Promise<void>
  /** Keeps what a ServerApp goes on from. Returns false if the server keeps no checkpoints. */
  saveCheckpoint(context: MessageInitShape<typeof ContextSchema>): Promise<boolean>
  finish(outcome: TaskOutcome): Promise<void>
}

/** The server has ended the task: its token is good for nothing any more. */
export class TaskEndedError extends Error {
  override readonly name = 'TaskEndedError'
}
