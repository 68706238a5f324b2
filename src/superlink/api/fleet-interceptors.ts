import type { Interceptor } from '../../rpc/interceptor.ts'
import type { SuperlinkContext } from '../context.ts'
import { JoinGate } from '../nodes/join-gate.ts'
import { countFleetTraffic } from './fleet-traffic.ts'

/** Returns what observes or bounds the calls of SuperNodes, at all listeners together. */
export function fleetInterceptors({
  traffic,
  clock,
  uploads,
}: Pick<SuperlinkContext, 'traffic' | 'clock' | 'uploads'>): Interceptor[] {
  return [countFleetTraffic(traffic), new JoinGate(clock).interceptor, uploads.interceptor]
}
