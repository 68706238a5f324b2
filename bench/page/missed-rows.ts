import type { ScaleReport } from '../scale/main.ts'
import { scaleRows, targetOf } from '../scale/rows.ts'
import { markdownTable } from './markdown.ts'

/** Why a row may miss its target: what a profile (`--node-options --cpu-prof`) of a fleet of 1,000 showed, and what was tried. */
interface Explanation {
  readonly limit: string
  readonly tried: string
  readonly profile: string
}

const explanations: Readonly<Record<string, Explanation>> = {
  's until all are online': {
    limit:
      'CPU: a join is a handshake, the reading of a certificate, and a transaction; the generator needs as much again',
    tried:
      'Certificates are cached by their bytes, which helps CAs and peers that return. TLS sessions are not resumed where client certificates are asked for: a resumed session would carry an authorisation that was never judged.',
    profile:
      'Reading the certificate with pkijs is 29 % of a join: 2.2 ms of CPU each, of which `node:crypto` needs 0.05 ms. Garbage is 10 %, the activation 7 %, log lines 5 %.',
  },
  'idle: MB resident': {
    limit: 'memory of connections with TLS and HTTP/2',
    tried:
      'Nothing that would be less than the bare server, which needs more than the target of 1,000 SuperNodes by itself.',
    profile: 'What is left beyond the bare server are the code and the caches of the SuperLink.',
  },
  'ms from message to node, p99': {
    limit: 'CPU, at the one thread of the server: the last node waits until all others have theirs',
    tried:
      'Claims of nodes that a push wakes are common transactions, and objects of instructions stay in memory until they are fetched.',
    profile:
      'As for a round. The first messages leave before the last ones are pushed, so both compete for the thread.',
  },
  's of a round, median': {
    limit: 'CPU, at the one thread of the server',
    tried:
      'Instructions, claims and replies that arrive together are stored together: 3.4 statements for a node and round instead of 34, and 1.0 ms of CPU for the delivery of a message and its reply instead of 1.7 ms. Rows bound to a statement cost as much as rows read from JSON.',
    profile:
      'SQL is 25 %, nearly all of it pages of rows and indexes that change: a message and its reply are eight objects. Garbage is 9 %. The rest is HTTP/2, streams and protobuf, and no function of these has more than 2 %.',
  },
  'ms event loop delay, p99': {
    limit: 'CPU: more programs than cores',
    tried: 'Long work is divided into turns of 5 to 10 ms.',
    profile: 'On a quiet machine the delay was 37 ms with 1,000 SuperNodes.',
  },
}

/** For each row that misses its target in some fleet: what limits it, what was tried, and what the profile shows. */
export function missedRows({ trellis, inParts }: ScaleReport): string[] {
  const fleets = [
    ...trellis.map((figures) => ({ figures, messages: 'whole' as const })),
    ...inParts.map((figures) => ({ figures, messages: 'in-parts' as const })),
  ]
  const missed = scaleRows.filter((row) =>
    fleets.some(({ figures, messages }) => {
      const target = targetOf(row, figures.nodes.median, messages)
      return target !== undefined && row.value(figures).median > target
    }),
  )
  if (missed.length === 0) return []
  const lines = missed.map(({ title }) => {
    const { limit, tried, profile } = explanations[title] ?? { limit: '', tried: '', profile: '' }
    return [title, limit, tried, profile]
  })
  return [
    '### Rows that miss a target',
    markdownTable([['', 'what limits it', 'what was tried', 'what the profile shows'], ...lines]),
  ]
}
