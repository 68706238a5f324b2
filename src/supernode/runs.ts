import type { MessageShape } from '@bufbuild/protobuf'
import { DomainError } from '../base/errors.ts'
import { sha256InTurns } from '../base/hash-in-turns.ts'
import type { RunId } from '../base/ids.ts'
import { limits } from '../base/limits.ts'
import type { UserConfig } from '../base/user-config.ts'
import { type AppLanguage, chooseClientApp } from '../fab/app-components.ts'
import { fuseConfig } from '../fab/pyproject.ts'
import { readFab } from '../fab/read-fab.ts'
import type { RunSchema } from '../gen/flwr/proto/run_pb.ts'
import { isSignedBy, type TrustedEntities } from '../identity/trusted-entities.ts'
import type { ContextFields } from '../message/context.ts'
import { RecordDict } from '../message/records.ts'
import { userConfigFromWire } from '../message/wire.ts'
import { type FleetClient, fleet } from './fleet.ts'
import { KeptStates, stateOwner } from './kept-states.ts'

/** A run that this node works for. */
export interface KnownRun {
  readonly runId: RunId
  readonly wire: MessageShape<typeof RunSchema>
  readonly fab: { readonly hashStr: string; readonly content: Uint8Array }
  /** Component reference of the ClientApp. */
  readonly component: string
  /** What the ClientApp keeps from message to message; see {@link Runs.keep}. */
  context: ContextFields
}

/** More runs than this at the same time: the longest unused one is asked for again when it comes back. */
const runsMax = 64

export interface RunsOptions {
  /** Which ClientApp runs where an app has one in both languages. */
  readonly apps?: AppLanguage
  readonly trusted?: TrustedEntities | undefined
  /** Other limits than usual, for tests. */
  readonly fabBytesMax?: number
  readonly stateBytesMax?: number
  /** Called when there is no room for what the ClientApps of a run or series keep. */
  readonly onStateForgotten?: (owner: string) => void
}

/** The runs that this node has seen, each fetched once: its app, its configuration and its state. In memory only. */
export class Runs {
  readonly #nodeConfig: UserConfig
  readonly #apps: AppLanguage
  readonly #fleet: FleetClient
  readonly #known = new Map<RunId, { readonly run: Promise<KnownRun>; fabBytes: number; stateOwner?: string }>()
  readonly #states: KeptStates
  readonly #trusted: TrustedEntities | undefined
  readonly #fabBytesMax: number
  readonly #onStateForgotten: (owner: string) => void

  constructor(
    fleetClient: FleetClient,
    nodeConfig: UserConfig,
    {
      apps = 'typescript',
      trusted,
      fabBytesMax = limits.nodeFabBytesMax,
      stateBytesMax = limits.nodeStateBytesMax,
      onStateForgotten = () => {},
    }: RunsOptions = {},
  ) {
    this.#fleet = fleetClient
    this.#nodeConfig = nodeConfig
    this.#apps = apps
    this.#trusted = trusted
    this.#fabBytesMax = fabBytesMax
    this.#states = new KeptStates(stateBytesMax)
    this.#onStateForgotten = onStateForgotten
  }

  /** Throws an RpcError when the run has ended, and `fab-invalid` or `run-config-invalid` for an app that cannot be used. */
  async get(runId: RunId): Promise<KnownRun> {
    const entry = this.#known.get(runId) ?? { run: this.#fetch(runId), fabBytes: 0 }
    // The last used one is the last to be forgotten.
    this.#known.delete(runId)
    this.#known.set(runId, entry)
    try {
      const run = await entry.run
      entry.fabBytes = run.fab.content.length
      entry.stateOwner = stateOwner(run.context)
      this.#forgetUnused()
      return run
    } catch (error) {
      this.#known.delete(runId)
      throw error
    }
  }

  /** Forgets the runs that were used least recently if they are too many, or their apps too large together. */
  #forgetUnused(): void {
    let fabBytes = 0
    let count = 0
    for (const [runId, entry] of [...this.#known].reverse()) {
      count += 1
      fabBytes += entry.fabBytes
      if (count > runsMax || fabBytes > this.#fabBytesMax) this.#known.delete(runId)
    }
  }

  ids(): RunId[] {
    return [...this.#known.keys()]
  }

  /** How many runs are known. */
  get size(): number {
    return this.#known.size
  }

  /** Takes over what a ClientApp left behind at the end of a task. */
  keep(run: KnownRun, context: ContextFields): void {
    run.context = context
    // The run has ended in the meantime, and no other one continues it.
    if (context.seriesId === 0n && !this.#known.has(run.runId)) return
    for (const owner of this.#states.keep(stateOwner(context), context.state)) {
      this.#onStateForgotten(owner)
      for (const [runId, entry] of this.#known) if (entry.stateOwner === owner) this.#known.delete(runId)
    }
  }

  /** Contexts name the node: after it got another id they are made anew. */
  forgetAll(): void {
    this.#known.clear()
  }

  forget(runId: RunId): void {
    this.#known.delete(runId)
    this.#states.forget(stateOwner({ runId, seriesId: 0n }))
  }

  async #fetch(runId: RunId): Promise<KnownRun> {
    const node = { nodeId: this.#fleet.nodeId }
    const { message: runAnswer } = await this.#fleet.call(fleet.getRun, { node, runId })
    const wire = runAnswer.run
    if (!wire) throw new Error(`The SuperLink knows nothing of run ${runId}.`)
    const { message: fabAnswer } = await this.#fleet.call(fleet.getFab, { node, runId, hashStr: wire.fabHash })
    const { hashStr = '', content = new Uint8Array(), verifications = {} } = fabAnswer.fab ?? {}
    if (this.#trusted) await ensureTrusted(this.#trusted, content, verifications)
    const { manifest } = await readFab(content)
    return {
      runId,
      wire,
      fab: { hashStr, content },
      component: chooseClientApp(manifest.components, this.#apps),
      context: {
        runId,
        nodeId: this.#fleet.nodeId,
        seriesId: wire.seriesId,
        nodeConfig: this.#nodeConfig,
        runConfig: fuseConfig(manifest.config, userConfigFromWire(wire.overrideConfig)),
        state: this.#states.find(stateOwner({ runId, seriesId: wire.seriesId })) ?? new RecordDict(),
      },
    }
  }
}

/** Throws `fab-invalid` for an app that none of the trusted entities has signed. */
async function ensureTrusted(
  entities: TrustedEntities,
  content: Uint8Array,
  verifications: Readonly<Record<string, string>>,
): Promise<void> {
  if (!verifications.valid_license)
    throw new DomainError(
      'fab-invalid',
      'The FAB could not be verified: it came without signatures, and this SuperNode runs only apps that its --trusted-entities have signed.',
    )
  if (!isSignedBy(entities, Buffer.from(await sha256InTurns(content), 'hex'), verifications))
    throw new DomainError(
      'fab-invalid',
      'The FAB could not be verified: no trusted entity of this SuperNode has signed it.',
    )
}
