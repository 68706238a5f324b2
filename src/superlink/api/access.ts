import type { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'

/** Who may call what. A new RPC without a row does not compile. */
export type FleetMethod = 'joining-node' | 'node'

export const fleetAccess = {
  registerNode: 'joining-node',
  activateNode: 'joining-node',
  deactivateNode: 'node',
  unregisterNode: 'node',
  sendNodeHeartbeat: 'node',
  pullMessages: 'node',
  pushMessages: 'node',
  getRun: 'node',
  getFab: 'node',
  pushObject: 'node',
  pullObject: 'node',
  confirmMessageReceived: 'node',
} as const satisfies Record<keyof typeof Fleet.method, FleetMethod>
