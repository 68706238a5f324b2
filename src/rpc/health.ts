import { DomainError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Listener, startListener } from './listener.ts'

/** A plaintext listener for probes: `grpc.health.v1.Health/Check` answers SERVING, `GET /health` answers 200. */
export function startHealthServer(address: string, log: Logger): Promise<Listener> {
  return startListener({ name: 'health server', address, services: [], rawMethods: [check, watch], log })
}

/** `HealthCheckResponse { status: SERVING }`, whatever service was asked for. */
const serving = Uint8Array.of(0x08, 0x01)

const check = {
  path: '/grpc.health.v1.Health/Check',
  route: 'health/check',
  streams: false,
  unary: async () => serving,
  async *stream() {},
} as const

const watch = { ...check, path: '/grpc.health.v1.Health/Watch', route: 'health/watch', unary: unimplemented } as const

async function unimplemented(): Promise<never> {
  throw new DomainError('unsupported', 'Watch is not implemented')
}
