import { UsageError } from '../../base/errors.ts'
import type { NodeInfo } from '../grid.ts'
import { seededRandom } from '../seeded-random.ts'
import { checkedNumber } from '../strategy/option-checks.ts'
import type { NodeHistory, NodePast } from './node-history.ts'
import { policy, type Selected, type SelectionPolicy } from './selection.ts'

/** How many nodes a policy chooses: one of the two. */
export interface SizeOptions {
  /** A share of the nodes, rounded down, but one node at least. */
  readonly fraction?: number
  /** That many nodes, or all if there are fewer. */
  readonly count?: number | bigint
}

/** Options of {@link random}. */
export interface RandomOptions extends SizeOptions {
  /**
   * Asks that many times more nodes, by default 1. The round goes on when as many as `fraction` or `count` says have
   * replied, and drops the replies of the slowest.
   */
  readonly overSelect?: number
  /** Makes the choice of each round the same in every run; by default it is another one each time. */
  readonly seed?: number
}

/** All nodes that are online. */
export function all(): SelectionPolicy {
  return policy((nodes) => nodes)
}

/**
 * Some nodes by chance, each as likely as any other.
 *
 * @example
 * select: random({ fraction: 0.1, overSelect: 1.3 })
 */
export function random(options: RandomOptions): SelectionPolicy {
  const choose = chooser('random', options)
  return policy((nodes, round) => choose(nodes, round, () => 1))
}

/**
 * The nodes with one of these names: the name that operators gave it, the name in its certificate, or the node id.
 *
 * @example
 * select: byName('hospital-a', 'hospital-b')
 */
export function byName(...names: string[]): SelectionPolicy {
  const wanted = new Set(names)
  return policy((nodes) =>
    nodes.filter(({ name, identity, nodeId }) => [name, identity, String(nodeId)].some((one) => wanted.has(one ?? ''))),
  )
}

/**
 * The nodes whose tag has one of these values; without a value, all that have the tag.
 *
 * @example
 * select: byTag('region', 'eu', 'uk').and(byTag('gpu'))
 */
export function byTag(key: string, ...values: string[]): SelectionPolicy {
  return policy((nodes) =>
    nodes.filter(({ tags }) => {
      const value = Object.hasOwn(tags, key) ? tags[key] : undefined
      return value !== undefined && (values.length === 0 || values.includes(value))
    }),
  )
}

/**
 * The nodes in turn: those that have not been asked for the longest time, the smallest id first.
 *
 * @example
 * select: roundRobin({ count: 10 })
 */
export function roundRobin(options: SizeOptions): SelectionPolicy {
  const sizeOf = sizes('roundRobin', options)
  return policy((nodes, _round, history) => {
    const lastRound = ({ nodeId }: NodeInfo): number => history.of(nodeId).lastRound
    const inTurn = nodes.toSorted((a, b) => lastRound(a) - lastRound(b) || (a.nodeId < b.nodeId ? -1 : 1))
    return inTurn.slice(0, sizeOf(nodes.length))
  })
}

/**
 * The nodes that have been late in fewer than that many rounds in a row, by default 3. A node that is left out so is asked
 * again after as many rounds, or earlier if too few nodes are left for the round: those first that were not asked for the
 * longest time.
 */
export function notLate({ rounds = 3 }: { readonly rounds?: number | bigint } = {}): SelectionPolicy {
  const most = checkedNumber('notLate', 'rounds', rounds, { isWhole: true, above: 0 })
  return policy((nodes, round, history) => {
    const isIn = ({ nodeId }: NodeInfo): boolean => {
      const { lateInARow, lastRound } = history.of(nodeId)
      return lateInARow < most || round - lastRound > most
    }
    const chosen = nodes.filter(isIn)
    const missing = history.needed - chosen.length
    if (missing <= 0) return chosen
    const lastRound = ({ nodeId }: NodeInfo): number => history.of(nodeId).lastRound
    const late = nodes.filter((node) => !isIn(node)).toSorted((a, b) => lastRound(a) - lastRound(b))
    return [...chosen, ...late.slice(0, missing)]
  })
}

/** Options of {@link weightedBy}. */
export interface WeightedOptions extends RandomOptions {
  /** For `loss`: the metric of training that holds it, by default `loss`. */
  readonly metric?: string
}

/**
 * Some nodes by chance, in proportion to their last training loss (`loss`), to how fast they were (`speed`), or to a number
 * that a function returns. Nodes of which nothing is known yet are as likely as the most likely of the others.
 *
 * @example
 * select: weightedBy('loss', { fraction: 0.2 })
 * @example
 * select: weightedBy(({ metrics }) => metrics['num-examples'], { count: 10 })
 */
export function weightedBy(
  weight: 'loss' | 'speed' | ((past: NodePast, node: NodeInfo) => number | undefined),
  options: WeightedOptions,
): SelectionPolicy {
  if (typeof weight !== 'function' && weight !== 'loss' && weight !== 'speed')
    throw new UsageError(`weightedBy: the weight must be 'loss', 'speed' or a function, not ${weight}.`)
  const { metric = 'loss' } = options
  const choose = chooser('weightedBy', options)
  const weightIn = (past: NodePast, node: NodeInfo): number | undefined => {
    if (typeof weight === 'function') return weight(past, node)
    return weight === 'loss' ? past.metrics[metric] : past.seconds === undefined ? undefined : 1 / past.seconds
  }
  return policy((nodes, round, history) => choose(nodes, round, weights(nodes, history, weightIn)))
}

function weights(
  nodes: readonly NodeInfo[],
  history: NodeHistory,
  weightIn: (past: NodePast, node: NodeInfo) => number | undefined,
): (node: NodeInfo) => number {
  const known = new Map(
    nodes
      .map((node) => [node.nodeId, weightIn(history.of(node.nodeId), node)] as const)
      .filter(([, one]) => isWeight(one)),
  ) as ReadonlyMap<bigint, number>
  const largest = [...known.values()].reduce((most, one) => Math.max(most, one), 0) || 1
  return ({ nodeId }) => known.get(nodeId) ?? largest
}

function isWeight(value: number | undefined): boolean {
  return value !== undefined && value >= 0 && Number.isFinite(value)
}

type Choose = (nodes: readonly NodeInfo[], round: number, weight: (node: NodeInfo) => number) => Selected

/**
 * Chooses by chance without replacement: the nodes with the largest u^(1/w), for u by chance (Efraimidis and Spirakis,
 * "Weighted random sampling with a reservoir", 2006).
 */
function chooser(name: string, { seed, overSelect = 1, ...size }: RandomOptions): Choose {
  const sizeOf = sizes(name, size)
  const times = checkedNumber(name, 'overSelect', overSelect, { atLeast: 1 })
  const seedNumber = seed === undefined ? undefined : checkedNumber(name, 'seed', seed, { isWhole: true })
  return (nodes, round, weight) => {
    const chance = seedNumber === undefined ? Math.random : seededRandom(seedNumber * 1_000_003 + round)
    const inOrder = nodes.toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
    const keyed = inOrder.map((node) => ({ node, key: Math.log(1 - chance()) / weight(node) }))
    const enough = sizeOf(nodes.length)
    const asked = Math.min(nodes.length, Math.ceil(enough * times))
    const chosen = keyed
      .sort((a, b) => b.key - a.key)
      .slice(0, asked)
      .map(({ node }) => node)
    return enough < asked ? Object.assign(chosen, { enough }) : chosen
  }
}

/** Throws a UsageError unless exactly one of the two is given. */
function sizes(name: string, { fraction, count }: SizeOptions): (nodes: number) => number {
  if ((fraction === undefined) === (count === undefined))
    throw new UsageError(`${name}: give fraction or count, and not both.`)
  if (count !== undefined) {
    const most = checkedNumber(name, 'count', count, { isWhole: true, above: 0 })
    return (nodes) => Math.min(nodes, most)
  }
  const share = checkedNumber(name, 'fraction', fraction as number, { above: 0, atMost: 1 })
  return (nodes) => Math.min(nodes, Math.max(1, Math.floor(nodes * share)))
}
