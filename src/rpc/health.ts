import { DomainError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Metrics } from '../base/metrics.ts'
import type { Page } from './http-door.ts'
import { type Listener, startListener } from './listener.ts'

export interface HealthOptions {
  /** Why the program cannot do its work, in one sentence; `undefined` when it can. */
  readonly unreadiness?: () => string | undefined
  /** What an operator should mend though the program does its work, a sentence each. */
  readonly troubles?: () => readonly string[]
  readonly metrics?: Metrics
}

/**
 * A plaintext listener for probes. `GET /healthz` (and `/health`) returns 200 while the program lives, `/readyz` 503 with
 * the reason while it cannot do its work (`ok` is followed by what should be mended), `/metrics` for Prometheus;
 * `grpc.health.v1.Health/Check` returns SERVING.
 */
export function startHealthServer(
  address: string,
  log: Logger,
  { unreadiness = () => undefined, troubles = () => [], metrics }: HealthOptions = {},
): Promise<Listener> {
  const page: Page = async (path) => {
    if (path === '/healthz') return { contentType: plainText, body: 'ok\n' }
    if (path === '/metrics') return metrics?.text()
    if (path !== '/readyz') return undefined
    const reason = unreadiness()
    return {
      status: reason === undefined ? 200 : 503,
      contentType: plainText,
      body: `${reason ?? ['ok', ...troubles()].join('\n')}\n`,
    }
  }
  return startListener({ name: 'health server', address, services: [], rawMethods: [check, watch], pages: [page], log })
}

const plainText = 'text/plain; charset=utf-8'

/** `HealthCheckResponse { status: SERVING }`, whatever service was asked for. */
const serving = Uint8Array.of(0x08, 0x01)

const check = {
  path: '/grpc.health.v1.Health/Check',
  route: 'health/check',
  streams: false,
  unary: async () => [serving],
  async *stream() {},
} as const

const watch = { ...check, path: '/grpc.health.v1.Health/Watch', route: 'health/watch', unary: unimplemented } as const

async function unimplemented(): Promise<never> {
  throw new DomainError('unsupported', 'Watch is not implemented')
}
