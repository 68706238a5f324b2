import { Attempts } from '../../base/attempts.ts'
import type { NodeId } from '../../base/ids.ts'
import type { Connection } from '../../rpc/call.ts'

/** The speaker of a node: its connection, and which start of which program it is, if it says so. */
export interface Speaker {
  readonly connection: Connection
  /** Value of the `trellis-process` header: connections come and go while a process lives, and over HTTP it has several. */
  readonly process: string | undefined
  /** It says that its files hold a certificate that it cannot use. */
  readonly renewalFails?: boolean
  /** Name and release of the program, if it says. */
  readonly release?: string | undefined
}

/** A SuperNode that leaves and joins in a loop would fill the event log: each time makes two events. */
const leaves = { max: 10, perMs: 60_000 }

/** Remembers the speaker of each node, so that one identity is one SuperNode. */
export class LiveNodes {
  readonly #speakers = new Map<NodeId, { process: string | undefined; connections: Set<Connection> }>()
  readonly #failing = new Set<NodeId>()
  readonly #releases = new Map<NodeId, string>()
  readonly #nodes = new WeakMap<Connection, Set<NodeId>>()
  readonly #leaves = new Attempts<NodeId>(leaves)

  /** Returns whether another speaker of the node has a connection that is still open. */
  isTaken(nodeId: NodeId, { connection, process }: Speaker): boolean {
    const known = this.#speakers.get(nodeId)
    if (!known) return false
    if (process !== undefined && known.process === process) return false
    return [...known.connections].some((one) => one !== connection && !one.closed.aborted)
  }

  /** Returns whether the speaker is known to be another process than the present one: without names this is unknown. */
  isAnotherProcess(nodeId: NodeId, speaker: Speaker): boolean {
    const known = this.#speakers.get(nodeId)
    const named = known?.process !== undefined && speaker.process !== undefined
    return named && known.process !== speaker.process && this.isTaken(nodeId, speaker)
  }

  /** Whether the node that speaks says that its renewed certificate is no good. */
  isRenewalFailing(nodeId: NodeId): boolean {
    return this.#failing.has(nodeId)
  }

  /** Name and release of the program that speaks for the node; `undefined` if it does not say. */
  releaseOf(nodeId: NodeId): string | undefined {
    return this.#releases.get(nodeId)
  }

  /** Remembers that the connection speaks for the node, until it closes. */
  note(nodeId: NodeId, { connection, process, renewalFails = false, release }: Speaker): void {
    // Its end has been told already, so nothing would remove it.
    if (connection.closed.aborted) return
    if (release === undefined) this.#releases.delete(nodeId)
    else this.#releases.set(nodeId, release)
    if (renewalFails) this.#failing.add(nodeId)
    else this.#failing.delete(nodeId)
    const known = this.#speakers.get(nodeId)
    if (known?.connections.has(connection) && known.process === process) return
    // A process without a name may have several connections too, as those of Flower 1.41 have.
    if (!known || known.process !== process) {
      this.#leave(nodeId)
      this.#speakers.set(nodeId, { process, connections: new Set([connection]) })
    } else known.connections.add(connection)
    this.#nodesOf(connection).add(nodeId)
  }

  /** Counts that a node leaves. Returns false if it has left too often within a minute. */
  mayLeave(nodeId: NodeId, now: number): boolean {
    return this.#leaves.take(nodeId, now)
  }

  /** How many nodes the connection speaks for. */
  countOf(connection: Connection): number {
    return this.#nodes.get(connection)?.size ?? 0
  }

  /** Returns the nodes of a connection that has ended or is refused, if they have no other speaker. */
  orphansOf(connection: Connection): NodeId[] {
    const isHeard = (one: Connection): boolean => !one.closed.aborted && one.peer.kind !== 'refused'
    const isOrphan = (nodeId: NodeId): boolean => ![...(this.#speakers.get(nodeId)?.connections ?? [])].some(isHeard)
    return [...(this.#nodes.get(connection) ?? [])].filter(isOrphan)
  }

  /** Ends what speaks for the node: an operator has blocked it. */
  closeConnections(nodeId: NodeId): void {
    for (const connection of [...(this.#speakers.get(nodeId)?.connections ?? [])]) connection.close()
  }

  forget(nodeId: NodeId): void {
    this.#failing.delete(nodeId)
    this.#releases.delete(nodeId)
    this.#leave(nodeId)
    this.#speakers.delete(nodeId)
  }

  /** No connection speaks for the node any more: one that stays open may speak for any number of nodes in its life. */
  #leave(nodeId: NodeId): void {
    for (const connection of this.#speakers.get(nodeId)?.connections ?? []) this.#nodes.get(connection)?.delete(nodeId)
  }

  /** Listens once a connection, however often its nodes change. */
  #nodesOf(connection: Connection): Set<NodeId> {
    const known = this.#nodes.get(connection)
    if (known) return known
    const nodes = new Set<NodeId>()
    this.#nodes.set(connection, nodes)
    const onClosed = (): void => nodes.forEach((nodeId) => void this.#gone(nodeId, connection))
    connection.closed.addEventListener('abort', onClosed, { once: true })
    return nodes
  }

  #gone(nodeId: NodeId, connection: Connection): void {
    const known = this.#speakers.get(nodeId)
    if (known?.connections.delete(connection) && known.connections.size === 0) this.forget(nodeId)
  }
}

/** Reads the header; nonsense counts as absent. */
export function processOf(values: readonly string[]): string | undefined {
  const [value] = values
  return values.length === 1 && value !== undefined && /^[A-Za-z0-9-]{1,64}$/.test(value) ? value : undefined
}

const releaseForm = /^[0-9A-Za-z][0-9A-Za-z.+-]{0,39}$/

/** Name and release of a program by the headers of its calls; `undefined` if they tell none, or nonsense. */
export function releaseOf(header: (name: string) => readonly string[]): string | undefined {
  const [ours] = header('trellis-release')
  const release = ours ?? header('flwr-package-version')[0]
  if (release === undefined || !releaseForm.test(release)) return undefined
  return `${ours === undefined ? 'Flower' : 'Trellis'} ${release}`
}
