import type { ClientAppIo } from '../gen/flwr/proto/clientappio_pb.ts'
import type { Control } from '../gen/flwr/proto/control_pb.ts'
import type { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import type { Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import type { ServerAppIo } from '../gen/flwr/proto/serverappio_pb.ts'
import type { AccessTable } from '../rpc/service.ts'

/**
 * The permissions of callers, for all five services. `changes` marks calls that change what others see; they are written to the
 * audit log. What a node does all the time (heartbeats, objects) does not count as a change: the reply that the objects
 * belong to does. Apps act for a run whose start is in the audit log. `body` names the class of the request's size.
 *
 * `of` names whose things a request may be about; its rules are in `superlink/access` and `tasks/app-owners.ts`. `caller`
 * stands for what belongs to the caller itself: the node, the account, the run of the task.
 */

/**
 * An instruction to the node, or a run that has asked it for something if it sends a message unasked; a run that has asked
 * it for something, the app of one that waits for its work, the objects of an instruction, and those of a message that the
 * node has announced.
 */
type FleetOwned = 'instruction' | 'instruction-received' | 'run' | 'app' | 'sent-object' | 'received-object'
/**
 * Runs that the account sees, a node that it may unregister, any node, the keys of all nodes, the settings of a federation.
 */
type ControlOwned = 'run' | 'runs' | 'node' | 'any-node' | 'fleet' | 'federation'
/** Messages and objects of the run of a task (of its one message, if it is that of a ClientApp); every task for SuperExecs. */
type AppOwned = 'any-task' | 'messages' | 'sent-object' | 'object' | 'received-message'

export const fleetAccess = {
  registerNode: { caller: 'joining-node', of: 'caller', changes: true, body: 'small' },
  activateNode: { caller: 'joining-node', of: 'caller', changes: true, body: 'small' },
  deactivateNode: { caller: 'node', of: 'caller', changes: true, body: 'small' },
  unregisterNode: { caller: 'node', of: 'caller', changes: true, body: 'small' },
  sendNodeHeartbeat: { caller: 'node', of: 'caller', changes: false, body: 'small' },
  pullMessages: { caller: 'node', of: 'caller', changes: false, body: 'small' },
  pushMessages: { caller: 'node', of: 'instruction', changes: true, body: 'tree' },
  getRun: { caller: 'node', of: 'run', changes: false, body: 'small' },
  getFab: { caller: 'node', of: 'app', changes: false, body: 'small' },
  pushObject: { caller: 'node', of: 'sent-object', changes: false, body: 'content' },
  pullObject: { caller: 'node', of: 'received-object', changes: false, body: 'small' },
  confirmMessageReceived: { caller: 'node', of: 'instruction-received', changes: false, body: 'small' },
} as const satisfies AccessTable<typeof Fleet, 'joining-node' | 'node', FleetOwned>

export const controlAccess = {
  startRun: { caller: 'account', of: 'caller', changes: true, body: 'content' },
  stopRun: { caller: 'account', of: 'run', changes: true, body: 'small' },
  streamLogs: { caller: 'account', of: 'run', changes: false, body: 'small' },
  streamRunEvents: { caller: 'account', of: 'run', changes: false, body: 'small' },
  showRunNodes: { caller: 'account', of: 'run', changes: false, body: 'small' },
  listRuns: { caller: 'account', of: 'runs', changes: false, body: 'small' },
  getLoginDetails: { caller: 'account', of: 'caller', changes: false, body: 'small' },
  getAuthTokens: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  pullArtifacts: { caller: 'account', of: 'caller', changes: false, body: 'small' },
  registerNode: { caller: 'account', of: 'fleet', changes: true, body: 'small' },
  unregisterNode: { caller: 'account', of: 'node', changes: true, body: 'small' },
  setNodeAdmission: { caller: 'account', of: 'any-node', changes: true, body: 'small' },
  streamEvents: { caller: 'account', of: 'runs', changes: false, body: 'small' },
  showSecurity: { caller: 'account', of: 'caller', changes: false, body: 'small' },
  showCaller: { caller: 'account', of: 'caller', changes: false, body: 'small' },
  listNodes: { caller: 'account', of: 'caller', changes: false, body: 'small' },
  listFederations: { caller: 'account', of: 'caller', changes: false, body: 'small' },
  showFederation: { caller: 'account', of: 'runs', changes: false, body: 'small' },
  createFederation: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  archiveFederation: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  addNodeToFederation: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  removeNodeFromFederation: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  removeAccountFromFederation: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  createInvitation: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  listInvitations: { caller: 'account', of: 'caller', changes: false, body: 'small' },
  acceptInvitation: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  rejectInvitation: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  revokeInvitation: { caller: 'account', of: 'caller', changes: true, body: 'small' },
  configureSimulationFederation: { caller: 'account', of: 'federation', changes: true, body: 'small' },
} as const satisfies AccessTable<typeof Control, 'account', ControlOwned>

/** What apps of either generation do, over whichever service. */
const appRows = {
  pushObject: { caller: 'task', of: 'sent-object', changes: false, body: 'content' },
  pullObject: { caller: 'task', of: 'object', changes: false, body: 'small' },
  confirmMessageReceived: { caller: 'task', of: 'received-message', changes: false, body: 'small' },
} as const
const pushesMessages = { caller: 'task', of: 'messages', changes: false, body: 'messages' } as const
const pullsMessages = { caller: 'task', of: 'caller', changes: false, body: 'list' } as const
const serverAppRows = {
  pushMessages: pushesMessages,
  pullMessages: pullsMessages,
  getNodes: { caller: 'task', of: 'caller', changes: false, body: 'small' },
  pushLogs: { caller: 'task', of: 'caller', changes: false, body: 'logs' },
} as const
/** What both services of Flower 1.29 have. */
const appIoRows = {
  listAppsToLaunch: { caller: 'superexec', of: 'any-task', changes: false, body: 'small' },
  requestToken: { caller: 'superexec', of: 'any-task', changes: false, body: 'small' },
  getRun: { caller: 'superexec', of: 'any-task', changes: false, body: 'small' },
  sendAppHeartbeat: { caller: 'task', of: 'caller', changes: false, body: 'small' },
  pullAppInputs: { caller: 'task', of: 'caller', changes: false, body: 'small' },
  pushAppOutputs: { caller: 'task', of: 'caller', changes: false, body: 'context' },
} as const

export const runtimeAccess = {
  ...appRows,
  ...serverAppRows,
  acquireTask: { caller: 'superexec', of: 'any-task', changes: false, body: 'small' },
  sendTaskHeartbeat: { caller: 'task', of: 'caller', changes: false, body: 'small' },
  pullTaskInput: { caller: 'task', of: 'caller', changes: false, body: 'small' },
  pushTaskOutput: { caller: 'task', of: 'caller', changes: false, body: 'context' },
  pushTaskEvents: { caller: 'task', of: 'caller', changes: false, body: 'list' },
  saveCheckpoint: { caller: 'task', of: 'caller', changes: false, body: 'context' },
  pullCheckpoint: { caller: 'task', of: 'caller', changes: false, body: 'small' },
} as const satisfies AccessTable<typeof Runtime, 'superexec' | 'task', AppOwned>

export const serverAppIoAccess = {
  ...appRows,
  ...serverAppRows,
  ...appIoRows,
  updateRunStatus: { caller: 'task', of: 'caller', changes: false, body: 'list' },
} as const satisfies AccessTable<typeof ServerAppIo, 'superexec' | 'task', AppOwned>

export const clientAppIoAccess = {
  ...appRows,
  ...appIoRows,
  pushMessage: pushesMessages,
  pullMessage: pullsMessages,
} as const satisfies AccessTable<typeof ClientAppIo, 'superexec' | 'task', AppOwned>
