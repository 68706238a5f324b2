import { create, type DescMessage, type Message } from '@bufbuild/protobuf'
import type { DeflatedMessage } from '../../src/message/deflate.ts'
import { somePublicKey } from './mutual-tls.ts'

/** What a request can name: things of one party, or things that do not exist. */
export interface Things {
  /** The node that the caller claims to be. */
  readonly callerNodeId: bigint
  readonly runId: bigint
  readonly nodeId: bigint
  readonly taskId: bigint
  readonly seriesId: bigint
  readonly fabHash: string
  /** What the caller would answer, confirm or read. */
  readonly message: DeflatedMessage
  readonly objectId: string
  readonly objectContent: Uint8Array
  readonly accountName: string
}

type Fill = (things: Things) => unknown

/** How each field of a request is filled. A field that is not here fails the test: decide whose it is. */
const fills: Readonly<Record<string, Fill>> = {
  node: ({ callerNodeId }) => ({ nodeId: callerNodeId }),
  nodeId: ({ nodeId }) => nodeId,
  runId: ({ runId }) => runId,
  resumeRunId: ({ runId }) => runId,
  taskId: ({ taskId }) => taskId,
  seriesId: ({ seriesId }) => seriesId,
  hashStr: ({ fabHash }) => fabHash,
  fabHash: ({ fabHash }) => fabHash,
  objectId: ({ objectId }) => objectId,
  objectContent: ({ objectContent }) => objectContent,
  // The hash of a checkpoint.
  sha256: ({ objectId }) => objectId,
  objects: ({ objectContent }) => [objectContent],
  messageObjectId: ({ message }) => message.messageId,
  moreMessageObjectIds: ({ message }) => [message.messageId],
  messageIds: ({ message }) => [message.messageId],
  replyToMessageIds: ({ message }) => ({ values: [message.messageId] }),
  messagesList: ({ message }) => [message.wire],
  messageObjectTrees: ({ message }) => [message.tree],
  reply: ({ message }) => message.wire,
  replyObjectTree: ({ message }) => message.tree,
  sessionId: ({ message }) => message.messageId,
  accountName: ({ accountName }) => accountName,
  inviteeAccountName: ({ accountName }) => accountName,
  admission: () => 'blocked',
  heartbeatInterval: () => 30,
  // Whose file it is depends on the object, or the task, that is named beside it.
  takesFile: () => true,
  leavesFiles: () => true,
  publicKey: () => somePublicKey,
  logs: () => ['a line'],
}

/** Fields that name nothing that belongs to a party. */
const harmless: readonly string[] = [
  ...[
    'endedRunsSeen',
    'objectsBytesMax',
    'responseLost',
    'clientappRuntimeList',
    'fab',
    'overrideConfig',
    'overrideFederationConfig',
    'appSpec',
  ],
  ...['federation', 'federationName', 'connectorRefs', 'connectorIds', 'userPrompt', 'afterTimestamp', 'limit', 'skip'],
  ...['deviceCode', 'location', 'name', 'description', 'simulation', 'config', 'afterTaskEventId', 'context'],
  ...[
    'supportedTaskTypes',
    'agentappFabHashes',
    'subStatus',
    'details',
    'clientappRuntime',
    'knownNodes',
    'events',
    'processLost',
    // All messages of the caller's own run.
    'wantsAll',
    'afterSequence',
    'follow',
    'messageRequired',
    'batch',
    'takesCheckpointPieces',
    // Of the caller's own folder.
    'inFile',
    // Of the caller's own checkpoint.
    'piece',
    'offset',
  ],
  // The token of the header counts, and that of the body is not read.
  ...['token', 'runStatus'],
]

/** A request whose every field that can name something names one of these things. */
export function requestAbout(desc: DescMessage, things: Things): Message {
  const init: Record<string, unknown> = {}
  for (const { localName } of desc.fields) {
    const fill = fills[localName]
    if (fill) init[localName] = fill(things)
    else if (!harmless.includes(localName)) throw new Error(`${desc.typeName} has a field '${localName}': whose is it?`)
  }
  return create(desc, init as never)
}
