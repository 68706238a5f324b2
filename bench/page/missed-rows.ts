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
      'Strings of bytes in a certificate are no longer tried as ASN.1, and extensions that other certificates of the fleet have as well are parsed once: 0.77 ms for a certificate instead of 1.04, with the same outcome for 883 certificates of x509-limbo and 1,766 damaged ones. Activation no longer writes again what registration has just stored. A reader of DER of our own needed a tenth of the CPU for a certificate; it was not taken, because what decides on identities is left to a kept ASN.1 library. To parse in other threads would use the same CPU, and there is none left. TLS sessions are not resumed where client certificates are asked for: a resumed session would carry an authorisation that was never judged.',
    profile:
      'Before that, a join took 6.4 ms of the main thread on a busy machine: reading the certificate 1.8 ms (29 %; 13 % in asn1js, 9 % in the schemas of pkijs, 6 % in extensions), SQL 12 %, garbage 6 %, verifying the signature and finding the path 3 %, reading the key that a SuperNode sends twice 4 %. The rest is the handshake, sockets and HTTP/2.',
  },
  'idle: % of a core': {
    limit: 'CPU: heartbeats, held calls that end and are made again, and garbage',
    tried:
      'Our SuperNodes send a heartbeat only if no pull of theirs was one, and what changes nothing but a date is written together, every five seconds. Once a minute all certificates are judged again: their signatures are no longer verified each time. Two and a half times a second the SuperLink looks for expired certificates: this makes nothing for connections whose certificate is valid.',
    profile:
      'Of the idle work of the main thread with 1,000 SuperNodes, garbage was 16 %, native code of Node (sockets, TLS) 15 %, looking at the TLS files 9 %, SQL 5 %, judging connections again 4 % (3 % in signatures). The rest is spread over the calls: no function has more than 1.5 %. The first seconds after a join are not idle: the log of the database is copied, and memory is given back. They are no longer counted. When held calls end and come again, every 25 s, the space for new objects grows, and what has become garbage is collected at the next rest: 0.1 s of processor time with 1,000 SuperNodes. Collecting less often would cost 40 MB.',
  },
  'idle: MB resident': {
    limit: 'memory of connections with TLS and HTTP/2',
    tried:
      'A SuperLink that has been at rest for 5 s collects all garbage with that kind of collection of V8 that also shrinks the space for new objects, empties the caches of SQLite, and lets the C library give back what is free. Limits for the space for new objects, and other limits of the C library, gave less and would have slowed busy programs.',
    profile:
      'With 1,000 SuperNodes 240 MB are resident: 103 MB belong to TLS and HTTP/2 in the heap of the C library, 60 MB to objects of V8, 59 MB to the code of Node and its libraries (shared file pages), 12 MB to threads. Before, new objects had 64 MB reserved and 30 MB were garbage.',
  },
  'ms from message to node, p99': {
    limit: 'CPU, at the one thread of the server: the last node waits until all others have theirs',
    tried:
      'A push hands its instructions to the calls that wait for them: they leave from memory, in turns of 20 ms, right after the commit of the push, without a claim and a second transaction.',
    profile:
      'The first round decides: in it each SuperNode also asks for its run and its app, two calls and six statements. The first messages leave before the last ones are pushed, so both compete for the thread.',
  },
  's of a round, median': {
    limit: 'CPU, at the one thread of the server, which shares two cores with ServerApp and generator',
    tried:
      'A message and its reply were seven objects with 12 names, 31 entries of tables and indexes. Now they are two rows, and what instructions share is stored once: 2 to 3 statements for a node and round instead of 34, and 3 calls. Batches of replies look once at what is stored. No gain: flags of V8 that compile earlier, and a space for new objects of 64 MB.',
    profile:
      'With 1,000 SuperNodes SQL is an eighth of the work of the main thread (a quarter before), garbage 11 %, our code for calls 10 %, HTTP/2 7 %, protobuf 6 %, delivery 5 %; no function of ours has more than 2 %. Delivery alone, without calls, needs 0.48 ms for a node and round (0.86 before). With 100 SuperNodes much of the code is not compiled yet, which costs 0.5 ms a node. With 10,000 garbage is 23 %, native code (sockets, TLS) 15 %, HTTP/2 9 %, SQL 6 %, and half of the calls are pulls that end without a message and come again.',
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
      'what is resident, not what is in use: memory of the C library whose pages other pieces share, buffers that a larger burst has used for the first time, and compiled code. It ends: with 1,000 SuperNodes it was 7 to 14 MB after ten rounds and 8 MB after 30. With 10,000 garbage is left to V8 at rest, because to collect it at once would stop the program for a second: it is part of the 123 MB after two rounds, how large a part was not looked at',
    tried:
      'A profile of what the C library holds, by stack and by age, found two faults, which are mended: dates in the headers of responses, which each connection remembered (20 MB after ten rounds of 1,000, and more with each), and uploads that were never forgotten (31 MB with calls of Flower). At rest garbage is collected, and the C library gives back what is free between pieces in use. No gain: fixed limits of the C library for mapped pieces and for what it gives back (2 MB), one arena for all threads (30 MB more), a smaller space for new objects (2 MB, and slower rounds). A test counts live objects: the tenth round leaves no more behind than the third.',
    profile:
      'With 1,000 SuperNodes 171 MB of the C library were in use after the first round and 172 MB after 20, of V8 57 and 58 MB. Where what is resident grew by 13 MB, of 242, it was 7 MB in the heap of the C library (4 MB at the edges of free pieces: calls that wait lie scattered over the memory of a busy time; 2 MB in buffers of 16 KB for TLS), 3 MB in arenas of threads that compile, 2 MB of V8, 1 MB of compiled code.',
  },
  'ms event loop delay, p99': {
    limit: 'garbage: with 10,000 SuperNodes V8 has several hundred megabytes of objects to look at',
    tried:
      'Long work is divided into turns of 5 to 20 ms. A space for new objects of 64 MB instead of 16 changed nothing.',
    profile:
      'With 10,000 SuperNodes garbage is 23 % of the work of the main thread in a round. With 1,000 the longest collection took 154 ms, and the longest delay was 203 ms.',
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
