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
      'CPU: a join is a handshake, the reading of a certificate, and two calls with a transaction each; the generator needs as much again on the same cores',
    tried:
      'Statements of a join are compiled once, and names in a certificate are no longer parsed and encoded again. A reader of DER of our own needed a tenth of the CPU for a certificate, with the same outcome in 9,766 chains of x509-limbo and BetterTLS; it was not taken, because what decides on identities is left to a kept ASN.1 library. Certificates are cached by their bytes, which helps CAs and peers that return. TLS sessions are not resumed where client certificates are asked for: a resumed session would carry an authorisation that was never judged.',
    profile:
      'Before that, 3,000 SuperNodes that joined took 5.7 ms of the main thread each: reading the certificate 1.8 ms (32 %), SQL 9 %, building and compiling statements 8 %, keys and signatures 7 %, garbage 5 %. The rest is the handshake, sockets and HTTP/2.',
  },
  'idle: % of a core': {
    limit: 'CPU: heartbeats, held calls and the look for certificates that have expired',
    tried:
      'Our SuperNodes send a heartbeat only if no pull of theirs was one, and what changes nothing but a date is written together, every five seconds. Two and a half times a second the SuperLink looks for expired certificates: this no longer makes anything for connections whose certificate is valid.',
    profile:
      'With 3,000 SuperNodes that look was 15 % of the idle work of the main thread, serving calls 13 %, garbage 6 %, SQL 4 %. A fleet that has just joined still copies the log of its database and collects garbage, so the seconds after a join are not idle.',
  },
  'idle: MB resident': {
    limit: 'memory of connections with TLS and HTTP/2',
    tried:
      'Nothing that would be less than the bare server, which needs more than the target of 1,000 SuperNodes by itself.',
    profile:
      'What is left beyond the bare server are the code and the caches of the SuperLink, and some 30 MB of garbage: below 96 MB of heap and buffers V8 looks at new objects alone, because it collected everything after each 9 MB of a transfer before, a third of the processor time.',
  },
  'ms from message to node, p99': {
    limit: 'CPU, at the one thread of the server: the last node waits until all others have theirs',
    tried:
      'Claims of nodes that a push wakes are common transactions, and objects of instructions stay in memory until they are fetched. The list of nodes, which held the thread for 90 ms at the start of a round of 3,000, is made in turns.',
    profile:
      'As for a round. The first messages leave before the last ones are pushed, so both compete for the thread. With 10,000 SuperNodes replies come in as well before the last messages leave.',
  },
  's of a round, median': {
    limit: 'CPU, at the one thread of the server, which shares two cores with ServerApp and generator',
    tried:
      'Instructions, claims and replies that arrive together are stored together: 4 to 8 statements for a node and round instead of 34, and 3 calls. A reply no longer reads and decodes its instruction to compare two ids. Objects of a response are joined in one array of the right size: the one of the encoder grew and was copied ten times, up to 80 ms for one pull of replies. Rows bound to a statement cost as much as rows read from JSON.',
    profile:
      'With 3,000 SuperNodes the main thread works 4.5 ms for a node and round: SQL 28 % (1.25 ms; nearly all of it pages of rows and indexes that change, as a message and its reply are eight objects; 7 % are the commits that write these pages to the log), our own code 25 %, HTTP/2 and streams 8 %, system calls 8 %, garbage 7 %, protobuf 6 %. No function but those of SQLite has more than 2 %. A bare server of Node needs 0.66 ms for the same three calls.',
  },
  'calls lost': {
    limit: 'CPU, at the one thread of the server: a round of 10,000 takes longer than a held call',
    tried:
      'A SuperNode whose response did not come in time says so with its next call, and receives its instruction again.',
    profile:
      'All lost calls are PullMessages. All nodes are woken by the push; the last ones have their instruction claimed and wait more than 55 s for the thread.',
  },
  'MB more after the last round than after the first': {
    limit:
      'memory that V8 reserves while it works, garbage up to the 96 MB that it is allowed to keep, and pages of the database that are mapped',
    tried:
      'A test counts live objects: the tenth round leaves no more behind than the third. With a collection of garbage every 4 s, 14 rounds of 100 SuperNodes keep 34 to 35 MB of objects from the first round to the last. A smaller space for young objects (4 MB) did not end the growth.',
    profile:
      'Measured before V8 was allowed these 96 MB: the heap that it reserves grows from 55 to 98 MB and is not given back; buffers outside the heap stay at 5 to 9 MB. Resident memory did not grow in the last third of the rounds.',
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
