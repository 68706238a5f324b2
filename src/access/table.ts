import type { ClientAppIo } from '../gen/flwr/proto/clientappio_pb.ts'
import type { Control } from '../gen/flwr/proto/control_pb.ts'
import type { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import type { Runtime } from '../gen/flwr/proto/runtime_pb.ts'
import type { ServerAppIo } from '../gen/flwr/proto/serverappio_pb.ts'
import type { AccessTable } from '../rpc/service.ts'

/**
 * Who may call what, for all five services. `changes` marks calls that change what others see; they are written to the
 * audit log. What a node does all the time (heartbeats, objects) does not count as a change: the reply that the objects
 * belong to does. Apps act for a run whose start is in the audit log. `body` names the class of the request's size.
 */

export const fleetAccess = {
  registerNode: { caller: 'joining-node', changes: true, body: 'small' },
  activateNode: { caller: 'joining-node', changes: true, body: 'small' },
  deactivateNode: { caller: 'node', changes: true, body: 'small' },
  unregisterNode: { caller: 'node', changes: true, body: 'small' },
  sendNodeHeartbeat: { caller: 'node', changes: false, body: 'small' },
  pullMessages: { caller: 'node', changes: false, body: 'small' },
  pushMessages: { caller: 'node', changes: true, body: 'tree' },
  getRun: { caller: 'node', changes: false, body: 'small' },
  getFab: { caller: 'node', changes: false, body: 'small' },
  pushObject: { caller: 'node', changes: false, body: 'content' },
  pullObject: { caller: 'node', changes: false, body: 'small' },
  confirmMessageReceived: { caller: 'node', changes: false, body: 'small' },
} as const satisfies AccessTable<typeof Fleet, 'joining-node' | 'node'>

export const controlAccess = {
  startRun: { caller: 'account', changes: true, body: 'content' },
  stopRun: { caller: 'account', changes: true, body: 'small' },
  streamLogs: { caller: 'account', changes: false, body: 'small' },
  streamRunEvents: { caller: 'account', changes: false, body: 'small' },
  listRuns: { caller: 'account', changes: false, body: 'small' },
  getLoginDetails: { caller: 'account', changes: false, body: 'small' },
  getAuthTokens: { caller: 'account', changes: true, body: 'small' },
  pullArtifacts: { caller: 'account', changes: false, body: 'small' },
  registerNode: { caller: 'account', changes: true, body: 'small' },
  unregisterNode: { caller: 'account', changes: true, body: 'small' },
  listNodes: { caller: 'account', changes: false, body: 'small' },
  listFederations: { caller: 'account', changes: false, body: 'small' },
  showFederation: { caller: 'account', changes: false, body: 'small' },
  createFederation: { caller: 'account', changes: true, body: 'small' },
  archiveFederation: { caller: 'account', changes: true, body: 'small' },
  addNodeToFederation: { caller: 'account', changes: true, body: 'small' },
  removeNodeFromFederation: { caller: 'account', changes: true, body: 'small' },
  removeAccountFromFederation: { caller: 'account', changes: true, body: 'small' },
  createInvitation: { caller: 'account', changes: true, body: 'small' },
  listInvitations: { caller: 'account', changes: false, body: 'small' },
  acceptInvitation: { caller: 'account', changes: true, body: 'small' },
  rejectInvitation: { caller: 'account', changes: true, body: 'small' },
  revokeInvitation: { caller: 'account', changes: true, body: 'small' },
  configureSimulationFederation: { caller: 'account', changes: true, body: 'small' },
} as const satisfies AccessTable<typeof Control, 'account'>

export const runtimeAccess = {
  acquireTask: { caller: 'superexec', changes: false, body: 'small' },
  sendTaskHeartbeat: { caller: 'task', changes: false, body: 'small' },
  pullTaskInput: { caller: 'task', changes: false, body: 'small' },
  pushTaskOutput: { caller: 'task', changes: false, body: 'context' },
  pushMessages: { caller: 'task', changes: false, body: 'messages' },
  pullMessages: { caller: 'task', changes: false, body: 'list' },
  pushObject: { caller: 'task', changes: false, body: 'content' },
  pullObject: { caller: 'task', changes: false, body: 'small' },
  confirmMessageReceived: { caller: 'task', changes: false, body: 'small' },
  getNodes: { caller: 'task', changes: false, body: 'small' },
  pushLogs: { caller: 'task', changes: false, body: 'logs' },
  pushTaskEvents: { caller: 'task', changes: false, body: 'list' },
} as const satisfies AccessTable<typeof Runtime, 'superexec' | 'task'>

export const serverAppIoAccess = {
  listAppsToLaunch: { caller: 'superexec', changes: false, body: 'small' },
  requestToken: { caller: 'superexec', changes: false, body: 'small' },
  getRun: { caller: 'superexec', changes: false, body: 'small' },
  sendAppHeartbeat: { caller: 'task', changes: false, body: 'small' },
  pullAppInputs: { caller: 'task', changes: false, body: 'small' },
  pushAppOutputs: { caller: 'task', changes: false, body: 'context' },
  pushObject: { caller: 'task', changes: false, body: 'content' },
  pullObject: { caller: 'task', changes: false, body: 'small' },
  confirmMessageReceived: { caller: 'task', changes: false, body: 'small' },
  updateRunStatus: { caller: 'task', changes: false, body: 'list' },
  pushLogs: { caller: 'task', changes: false, body: 'logs' },
  pushMessages: { caller: 'task', changes: false, body: 'messages' },
  pullMessages: { caller: 'task', changes: false, body: 'list' },
  getNodes: { caller: 'task', changes: false, body: 'small' },
} as const satisfies AccessTable<typeof ServerAppIo, 'superexec' | 'task'>

export const clientAppIoAccess = {
  listAppsToLaunch: { caller: 'superexec', changes: false, body: 'small' },
  requestToken: { caller: 'superexec', changes: false, body: 'small' },
  getRun: { caller: 'superexec', changes: false, body: 'small' },
  sendAppHeartbeat: { caller: 'task', changes: false, body: 'small' },
  pullAppInputs: { caller: 'task', changes: false, body: 'small' },
  pushAppOutputs: { caller: 'task', changes: false, body: 'context' },
  pushObject: { caller: 'task', changes: false, body: 'content' },
  pullObject: { caller: 'task', changes: false, body: 'small' },
  confirmMessageReceived: { caller: 'task', changes: false, body: 'small' },
  pushMessage: { caller: 'task', changes: false, body: 'messages' },
  pullMessage: { caller: 'task', changes: false, body: 'list' },
} as const satisfies AccessTable<typeof ClientAppIo, 'superexec' | 'task'>
