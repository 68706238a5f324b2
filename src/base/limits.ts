import { bodyLimits } from './body-limits.ts'
import { bucketLimits } from './bucket-limits.ts'

/** Every bound of the system in one place. Over a limit there is a refusal that names it. */
const KiB = 1024
const MiB = 1024 * KiB

export const limits = {
  /** One protobuf message, in either direction. */
  messageBytesMax: 64 * MiB,
  /** The context of an app with its state: it travels in one message with the outcome of a task. */
  contextBytesMax: 64 * MiB - 64 * KiB,
  /** A checkpoint of a ServerApp, together with its FAB, that travels in one message; a larger one travels in pieces. */
  checkpointWholeBytesMax: 63 * MiB,
  checkpointPieceBytes: 2 * MiB,
  checkpointBytesMax: 2048 * MiB,
  /** How long the checkpoints of a failed or stopped run are kept. */
  checkpointKeptMs: 30 * 24 * 60 * 60_000,
  /** One pushed object. Arrays are cut into chunks (Flower's are 5 MiB and a head); other records are objects as they are. */
  objectBytesMax: 60 * MiB,
  arrayChunkBytes: 5 * MiB,
  /** Objects up to this size live in the database row; bigger ones are files. */
  objectInlineBytesMax: 16 * 1024,
  /** Bigger objects are sent from their files piece by piece, and received into files: so many at a time, others in memory. */
  objectInMemoryBytesMax: 1 * MiB,
  incomingFilesMax: 256,
  /** Objects that travel with their message between our own programs, and are stored in database rows: those of one message. */
  ...{ carriedBytesMax: 256 * KiB, carriedObjectsMax: 500 },
  /** Of these, the objects in the row of a reply, and in that of an instruction, which is written several times. */
  ...{ joinedObjectsBytesMax: 64 * KiB, joinedRootBytesMax: 8 * KiB },
  /** As `carriedBytesMax`, for all messages of one call. */
  carriedPerCallBytesMax: 4 * MiB,
  /** Such objects that a ServerApp keeps in memory with replies that it has not added to a mean; of more it fetches them then. */
  carriedHeldBytesMax: 64 * MiB,
  fabBytesMax: 50 * MiB,
  /** FABs that a SuperNode keeps in memory for its runs. */
  nodeFabBytesMax: 256 * MiB,
  /** What the ClientApps of all its runs keep between messages, in the memory of a SuperNode. */
  nodeStateBytesMax: 512 * MiB,
  fabFilesMax: 10_000,
  /** Files with arrays that an app reads: together, how many, and the list of contents of a safetensors file. */
  arrayFileBytesMax: 4 * 1024 * MiB,
  arrayFileArraysMax: 100_000,
  safetensorsHeaderBytesMax: 32 * MiB,
  fabPathBytesMax: 1_024,
  fabNameCharactersMax: 64,
  pyprojectBytesMax: 256 * 1024,
  /** Keys, elements and tables. */
  pyprojectPartsMax: 5_000,
  tomlDepthMax: 32,
  /** TOML files and arguments of the person that runs the program: a policy may name every node. */
  ownTomlBytesMax: 16 * MiB,
  ownTomlPartsMax: 500_000,
  headerBytesMax: 16 * 1024,
  headersMax: 64,
  streamsPerConnectionMax: 128,
  /** Calls that a peer may take back at once, and how many a second from then on: each costs us what a call costs. */
  streamResetsAtOnce: 50,
  streamResetsPerSecond: 10,
  /** The head of an HTTP request must arrive within this time. */
  requestHeadMs: 30_000,
  /** Of a body, at least so many bytes must arrive in each window, and all of it within `bodyMsMax`. */
  bodyWindowMs: 30_000,
  bodyBytesPerWindowMin: 30 * 1024,
  /** How long a client waits for a server that has agreed on HTTP/2 to begin to speak it. */
  http2SettingsMs: 30_000,
  /** The longest pause that a server can ask of a client. */
  retryAfterMsMax: 5 * 60_000,
  /** A response with an error over HTTP. */
  errorBodyBytesMax: 256 * KiB,
  bodyMsMax: 15 * 60_000,
  /**
   * Bodies that are being received or served, of all peers together and of one identity or address; responses that wait to
   * be read may take as much again.
   */
  bodiesBytesMax: 512 * MiB,
  bodiesPerPeerBytesMax: 128 * MiB,
  /** How long a body waits for room among these before it is refused. */
  bodyRoomMs: 10_000,
  /** How long a response waits for room before it is built. A peer that reads slowly makes others wait at most as long. */
  responseRoomMs: 5 * 60_000,
  /** Of responses, at least so many bytes must go out over a connection in each window, or the connection is closed. */
  responseWindowMs: 60_000,
  responseBytesPerWindowMin: 30 * KiB,
  /** How long a peer may take for one piece (256 KiB) of a response. */
  responseMsMax: 15 * 60_000,
  /** The rest of a body that nothing will read: discarded up to here, else the connection closes. */
  discardedBytesMax: 16 * MiB,
  discardedMsMax: 10_000,
  /** What an HTTP/2 peer may send ahead, on one stream and on its connection. */
  streamWindowBytes: 256 * KiB,
  connectionWindowBytes: 1 * MiB,
  ...{ pingEveryMs: 210_000, pingAnswerMs: 20_000 },
  /** A server whose machine is silent for `idle + interval * count` is lost to a client, also while a call only waits. */
  serverProbes: { idleMs: 60_000, intervalMs: 20_000, count: 3 },
  /** How long a gRPC connection may stay open without a call, and how many over HTTP a client keeps for some seconds. */
  ...{ idleConnectionMs: 5 * 60_000, idleHttpConnectionsMax: 256 },
  /** Of one certificate's name at one listener, unless the policy lets it be shared. */
  connectionsPerIdentityMax: 256,
  /** Without a certificate from one address, at a listener that asks for certificates. */
  connectionsPerAddressMax: 256,
  heldCallsPerNodeMax: 4,
  /** SuperNodes that register or activate themselves at the same time. */
  joinsAtOnceMax: 64,
  /** SuperNodes whose rows are kept in memory; of more, the row is read at each call. */
  knownNodesMax: 50_000,
  /** A heartbeat that changes nothing but a date is written together with others, after this time at the latest. */
  heartbeatsWrittenEveryMs: 5_000,
  /** Connections that the system keeps for a listener until it accepts them, unless the system allows fewer. */
  listenBacklog: 4_096,
  /** Accepted connections that wait, unread, for their turn, and how long one waits before it is turned away. */
  connectionsWaitingMax: 1_024,
  waitingConnectionMs: 30_000,
  /** How long a connection that is turned away may stay open, so that its client can read why. */
  turnedAwayConnectionMs: 500,
  /** Connections whose handshake or first bytes are awaited, and how long one may take. */
  connectionsUnjudgedMax: 64,
  unjudgedConnectionMs: 10_000,
  /** Those that wait for an OCSP responder; one more is judged by what is known. */
  connectionsLearningMax: 1_024,
  handshakesAtOnce: 4,
  /** For how long one that is slow counts among these. */
  handshakeTurnMs: 10,
  /** The time that each handshake has, even if other connections wait for its place. */
  handshakeMs: 3_000,
  /** Refused peers that are being told why; one more is cut off without a word. */
  connectionsRefusedMax: 256,
  refusedConnectionMs: 2_000,
  /** How long the calls of a peer that is refused now may take to end, and a closing connection to send the rest. */
  cutOffMs: 1_000,
  closeMs: 500,
  /** All revocation lists together: some 1.5 million entries. */
  revocationListBytesMax: 64 * MiB,
  /** Of how many connected peers the metrics tell when their certificates expire. */
  peersInMetricsMax: 1_000,
  /** What is read and thrown away while a refused peer is told why. */
  refusedBytesMax: 1 * MiB,
  logLineBytesMax: 64 * 1024,
  /** In a log of a program: a message or a stack, and the value of a field. */
  logMessageCharactersMax: 32 * 1024,
  logValueCharactersMax: 8 * 1024,
  /** What one call adds to the log of a run, and the note about its end. */
  runLogPartBytesMax: 64 * MiB,
  /** What the ClientApps of a simulation print in all, so that room is left for the ServerApp. */
  simulatedNodesLogBytesMax: 8 * MiB,
  /** What an app reports of itself while it runs. */
  ...{ eventBytesMax: 16 * 1024, eventNameBytesMax: 200, eventsPerCallMax: 100 },
  /** Events of a SuperLink: how many are kept and for how long, one of them, and those that wait for the webhook. */
  ...{ eventsKeptMax: 100_000, eventKeptMs: 30 * 24 * 60 * 60_000, eventRecordBytesMax: 96 * KiB },
  ...{ webhookWaitingMax: 100_000, webhookPatienceMs: 3 * 24 * 60 * 60_000 },
  /** Texts that are kept, by what they are; `column-limits.ts` names one of them for every column. */
  wordBytesMax: 128,
  hashBytesMax: 64,
  /** PEM; one of RSA 4096 has 800 bytes. The keys of all nodes fit into one list of nodes. */
  publicKeyBytesMax: 1 * KiB,
  /** Certificates of one path, from a peer's own to its CA's. A peer that sends more is rejected. */
  certificatePathMax: 8,
  /** Names in certificates and of accounts: 1,024 characters. */
  identityBytesMax: 4 * KiB,
  nodeNameCharactersMax: 256,
  nodeNameBytesMax: 1 * KiB,
  /** Tags of a SuperNode, of its flags and of its certificate each. */
  nodeTagsMax: 16,
  nodeTagKeyCharactersMax: 64,
  nodeTagValueCharactersMax: 128,
  nodeTagsBytesMax: 32 * KiB,
  /** Publisher and name, or a version. */
  fabNamesBytesMax: 1 * KiB,
  groupIdBytesMax: 256,
  messageTypeBytesMax: 256,
  /** Why a task or a message failed. Longer reasons are shortened. */
  reasonCharactersMax: 4_000,
  reasonBytesMax: 16 * KiB,
  objectTreeBytesMax: 16 * MiB,
  nonceBytesMax: 256,
  simulationSettingsBytesMax: 4 * KiB,
  /** The overrides of a run: how many, each key and value, and all as they are kept. */
  runConfigKeysMax: 1_000,
  runConfigKeyBytesMax: 256,
  runConfigValueBytesMax: 64 * KiB,
  runConfigBytesMax: 512 * KiB,
  /** The configuration of an app is kept with its runs, to be shown, up to this length. */
  appConfigShownBytesMax: 64 * KiB,
  /** How long a call is held for a caller that asked for it, and for one that did not. */
  heldCallMsMax: 30_000,
  heldStrangerCallMs: 5_000,
  bodies: bodyLimits,
  /** One record of a reply: lists of numbers, texts, and bytes. */
  records: { elementsMax: 2_000_000, decodedBytesMin: 16 * MiB, stringBytesMax: 60 * MiB },
  /** One object that names the parts of a message: an array, or the arrays of a record. */
  descriptionBytesMax: 4 * MiB,
  /** How deep messages nest; object trees have a bound of their own. */
  messageDepthMax: 32,
  stringBytesMax: 1 * MiB,
  objectTreeNodesMax: 20_000,
  objectTreeDepthMax: 16,
  messagesPerPushMax: 10_000,
  /** More messages, or more SuperNodes that go offline, would hold up other work. */
  ...{ messagesPerTransactionMax: 100, silentNodesPerTransactionMax: 100 },
  /** Finished instructions that a SuperNode remembers, so that it never executes one again. */
  finishedInstructionsMax: 4096,
  /** How long a SuperNode may upload nothing before its announced reply is given up. */
  replyQuietMs: 60_000,
  /** How long no object of an announced reply may come while its SuperNode uploads other objects. */
  replySilenceMs: 15 * 60_000,
  /** Messages of one SuperNode to one run that reply to nothing: those that wait for the ServerApp, and their bytes. */
  unpromptedWaitingMax: 256,
  unpromptedBytesMax: 4 * 1024 * MiB,
  /** Those that the ServerApp has taken, which are remembered so that none is delivered twice. */
  unpromptedTakenMax: 1_024,
  /** Message ids in one request for replies. */
  repliesPerPullMax: 20_000,
  /** Object trees of the replies in one response; the others follow in the next one. */
  repliesPerPullBytesMax: 16 * MiB,
  /** Error replies to message ids that no run has, of all runs, until their apps have fetched them. */
  passingRepliesMax: 100_000,
  taskLaunchesMax: 5,
  /** App processes of one SuperExec, and the ServerApps among them: their ClientApps may need the other half. */
  appProcessesMax: 1024,
  serverAppsMax: 512,
  /** Memory that must be free for an app process that is started before there is a task for it. */
  readyAppFreeMemoryMin: 1024 * MiB,
  /** One message of an app process to its SuperExec, and one that holds a reply and the context of its task. */
  appMessageBytesMax: 64 * 1024,
  lastWordsBytesMax: 96 * MiB,
  /** The reply of a Python worker to one message, with its context. */
  workerFrameBytesMax: 1024 * MiB,
  /** Messages of an app process that are not understood, before the process is ended. */
  appNonsenseMax: 100,
  /** The rest of a longer line of an app is not shown in the log of the program that launched it. */
  appLineBytesMax: 8 * 1024,
  /** Lines of one app that are shown in `appLinesWindowMs`; the log names the number of further ones. */
  appLinesMax: 1000,
  appLinesWindowMs: 10_000,
  /** The last lines before the end of an app are shown all the same. */
  appLastLinesMax: 20,
  /** Calls of a server's own SuperExec that are remembered, so that none can be repeated by another program. */
  superexecNoncesMax: 100_000,
  /** Objects that were read lately, for the other nodes that ask for them: all together, their number, and for how long. */
  sharedContentsBytesMax: 8 * 1024 * 1024,
  sharedContentsMax: 10_000,
  sharedContentsMs: 10_000,
  /** How many object files wait for the disk at a time: two of the four threads of the pool, whose others serve commits. */
  diskSyncsAtOnce: 2,
  ...bucketLimits,
  /** Nodes of one simulation, and the ClientApps of one that run at the same time. */
  virtualNodesMax: 10_000,
  virtualAppsAtOnceMax: 256,
  transfersAtOnce: 4,
  /** Replies of which a ServerApp fetches objects at the same time, before a strategy looks at them. */
  repliesFetchedAtOnce: 8,
  /** Replies that a strategy holds in memory: the one that it looks at, and those that are fetched meanwhile. */
  repliesAhead: 4,
  /** Nodes in a round of secure aggregation: each pair of them has keys and a mask of its own. */
  secureAggregationNodesMax: 1000,
  /** Replies that are added to a mean in step, and pieces of their arrays that are fetched while others are added. */
  repliesInStep: 4,
  arrayPiecesAhead: 8,
  /** How much must fit onto a disk that was full before work goes on, and how often that is tried. */
  roomProbeBytes: 1 * MiB,
  roomProbeEveryMs: 5_000,
  /** If it is full again within this time, twice as much must fit, up to a limit. */
  roomRelapseMs: 60_000,
  roomProbeBytesMax: 256 * MiB,
  /** A disk is nearly full below this share of its size or this many bytes, whichever is more; it is looked at this often. */
  freeSpaceLowShare: 0.05,
  freeSpaceLowBytes: 1024 * MiB,
  freeSpaceLookEveryMs: 60_000,
  /** It is reported again only after there was so many times the low mark in between. */
  freeSpaceRecovery: 1.2,
  /** How often the SuperLink removes finished runs that it does not keep and large values; how many rows of a run in a statement. */
  ...{ retentionLookEveryMs: 60_000, forgottenPartsLookEveryMs: 5_000, rowsPerRemoval: 50 },
  /** How often the clock is looked at, and a difference to its monotonic one that is a jump. */
  ...{ clockLookEveryMs: 5_000, clockJumpMs: 10_000 },
  /** How often a quota that leaves no room is counted anew, for how long a refusal is shown, and of how much counts are kept. */
  ...{ quotaCountEveryMs: 5_000, quotaRefusalShownMs: 30_000, quotaUsagesMax: 50_000 },
  /** How often the SuperLink looks what its runs wait for, and for how many missing replies it looks at the node. */
  waitLookEveryMs: 5_000,
  waitNodesMax: 200,
  waitNodesShownMax: 5,
  /** What is kept of the work of nodes for programs that show it: runs, and of each run replies and nodes. */
  workRunsMax: 16,
  workSpansMax: 2_000,
  workNodesMax: 10_000,
  /** The name of a phase is kept with each of those replies. */
  workPhaseCharactersMax: 64,
  /** A reply that is missing after this time is late: programs that follow the run show its node. */
  lateReplyMs: 10_000,
  /** Programs that follow a run learn after this time what it waits for: what they can help, and nodes that work. */
  waitNoticeMs: 15_000,
  workNoticeMs: 5 * 60_000,
  /** How long a background job waits for news before it looks for itself. */
  idleLookMs: 60 * 60_000,
} as const

/** A class of request bodies. */
export type BodyClass = keyof typeof limits.bodies

export type BodyBounds = (typeof limits.bodies)[BodyClass]
