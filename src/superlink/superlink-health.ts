import type { Logger } from '../base/log.ts'
import { formatAddress } from '../rpc/address.ts'
import { type HealthOptions, startHealthServer } from '../rpc/health.ts'
import type { Listener } from '../rpc/listener.ts'

type Checks = Required<Omit<HealthOptions, 'metrics'>>

/** The health server of a SuperLink. A standby has one before it serves: probes see what it waits for. */
export class SuperlinkHealth implements AsyncDisposable {
  readonly #options: Pick<HealthOptions, 'metrics'> & { readonly address: string | undefined; readonly log: Logger }
  #checks: Checks = { unreadiness: () => 'The SuperLink is starting.', troubles: () => [] }
  #failure: string | undefined
  #listener: Listener | undefined

  constructor(options: Pick<HealthOptions, 'metrics'> & { address: string | undefined; log: Logger }) {
    this.#options = options
  }

  /** Replaces what decides whether this SuperLink is ready. */
  check(checks: Partial<Checks>): void {
    this.#checks = { ...this.#checks, ...checks }
  }

  /** The SuperLink is not ready any more until it is restarted. */
  fail(reason: string): void {
    this.#failure = reason
    this.#options.log.error(reason)
  }

  /** Starts the server, unless it runs or has no address. */
  async start(): Promise<void> {
    const { address, log, ...options } = this.#options
    if (address === undefined || this.#listener) return
    this.#listener = await startHealthServer(address, log, {
      ...options,
      unreadiness: () => this.#failure ?? this.#checks.unreadiness(),
      troubles: () => this.#checks.troubles(),
    })
    log.info(`Starting gRPC health server on ${formatAddress(this.#listener.address)}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener?.[Symbol.asyncDispose]()
  }
}
