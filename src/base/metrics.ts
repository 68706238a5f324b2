import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { KnownDisk } from './free-space.ts'

/** What a program tells of itself to Prometheus. One for each start of a program: tests start several in one process. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #readers: (() => void | Promise<void>)[] = []
  readonly #gauges: Gauge[] = []
  readonly #labels = new Set<string>()

  /** Named after gRFC A118, `grpc.server.tls.handshakes`. */
  readonly handshakes = this.counter('grpc_server_tls_handshakes_total', 'TLS handshakes', [
    'listener',
    'grpc_tls_handshake_result',
  ])
  readonly refusals = this.counter('trellis_peer_refusals_total', 'Connections whose peer was refused', [
    'listener',
    'reason',
  ])
  /** Calls that were refused for their size, pace, or the memory that they need. */
  readonly bodyRefusals = this.counter('trellis_request_refusals_total', 'Requests refused for size, pace or room', [
    'listener',
    'reason',
  ])
  /** Of requests that are being received or served, from their first byte until the call ends. */
  readonly bodyBytes = this.gauge('trellis_request_bytes', 'Bytes of requests in memory', [])
  /** Of responses, until they have been sent. Large ones count from before they are built. */
  readonly responseBytes = this.gauge('trellis_response_bytes', 'Bytes of responses in memory', [])
  /** Set while writes fail because the disk is full. */
  readonly storageFull = this.gauge('trellis_storage_full', 'Whether a disk is full, so that nothing can be stored', [])
  /** Of the disks that the program stores on, each named by the first folder there. Read once a minute. */
  readonly storageFree = this.gauge('trellis_storage_free_bytes', 'Free bytes of a disk', ['folder'])
  readonly storageLowMark = this.gauge(
    'trellis_storage_low_mark_bytes',
    'Free bytes below which a disk is nearly full',
    ['folder'],
  )
  /** By what they wait for: disk, quota, superexec, app-start, app, nodes, replies. Looked at every few seconds. */
  readonly runsWaiting = this.gauge('trellis_runs_waiting', 'Runs that wait for something', ['reason'])
  readonly reloads = this.counter('trellis_tls_reloads_total', 'Sets of TLS files that had changed', [
    'files',
    'result',
  ])
  readonly ocspQuestions = this.counter('trellis_ocsp_questions_total', 'Questions put to OCSP responders', ['result'])
  /** 1 while the set in the files is the one in use, 0 while it is not good and the last good one stays. */
  readonly filesGood = this.gauge('trellis_tls_files_good', 'Whether the TLS files are good and in use', ['files'])
  readonly connections = this.gauge('trellis_connections', 'Open connections by how the peer proves its identity', [
    'listener',
    'method',
  ])
  /** Of our own certificate, of CAs, and of the peers that are connected; below zero once it has expired. */
  readonly certificateExpiry = this.gauge(
    'trellis_certificate_expires_in_seconds',
    'Seconds until a certificate expires',
    ['certificate', 'subject'],
  )
  readonly crlNextUpdate = this.gauge(
    'trellis_crl_next_update_in_seconds',
    'Seconds until a CRL is due to be replaced',
    ['issuer'],
  )

  /** Calls back before the metrics are read, to set gauges of what is so at that moment. */
  onRead(reader: () => void | Promise<void>): void {
    this.#readers.push(reader)
  }

  /** Sets the gauges of the disks. */
  tellStorage({ isFull }: { readonly isFull: boolean }, disks: readonly KnownDisk[]): void {
    this.storageFull.set(isFull ? 1 : 0)
    for (const { folder, freeBytes, lowMarkBytes } of disks) {
      this.storageFree.set({ folder }, freeBytes)
      this.storageLowMark.set({ folder }, lowMarkBytes)
    }
  }

  /**
   * Adds what prom-client knows of a Node process under its usual names: processor time, memory, open files, delay of the
   * event loop, garbage collection. Costs a timer, so it is for programs whose metrics are read.
   */
  watchProcess(): void {
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: 20 })
  }

  /** In the text format of Prometheus. */
  async text(): Promise<{ contentType: string; body: string }> {
    for (const gauge of this.#gauges) gauge.reset()
    for (const reader of this.#readers) await reader()
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() }
  }

  /** Names of everything that can be read. */
  names(): string[] {
    return this.#registry.getMetricsAsArray().map(({ name }) => name)
  }

  /** Labels that any of them has. */
  labels(): string[] {
    return [...this.#labels]
  }

  counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    for (const label of labelNames) this.#labels.add(label)
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.#registry] })
  }

  /** Gauges are reset before each read: a reader sets what is so at that moment. */
  gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> {
    for (const label of labelNames) this.#labels.add(label)
    const gauge = new Gauge({ name, help, labelNames: [...labelNames], registers: [this.#registry] })
    this.#gauges.push(gauge as Gauge)
    return gauge
  }

  histogram<Label extends string>(
    name: string,
    help: string,
    { labelNames, buckets }: { readonly labelNames: readonly Label[]; readonly buckets: readonly number[] },
  ): Histogram<Label> {
    for (const label of labelNames) this.#labels.add(label)
    const options = { labelNames: [...labelNames], buckets: [...buckets] }
    return new Histogram({ name, help, ...options, registers: [this.#registry] })
  }
}
