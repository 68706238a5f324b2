import type { LargeFigures } from '../large.ts'
import type { Spread, Spreads } from '../spread.ts'
import { spreadText } from '../spread.ts'
import type { Rows } from '../tables.ts'
import { markdownTable } from './markdown.ts'
import type { PageData } from './page-text.ts'

/** Rows with a target that are not of fleets: what was measured, and why one may miss its target. */
interface TargetRow {
  readonly title: string
  readonly target: number
  /** Whether more is better. */
  readonly isLeast?: boolean
  readonly digits: number
  /** Absent if it was not measured. */
  readonly measured: (data: Figures) => Spread | undefined
  readonly limit: string
  readonly tried: string
  readonly profile: string
}

type Figures = Pick<PageData, 'tables' | 'waterfall'>

const largeRows: readonly TargetRow[] = [
  {
    title: '100 MB, 2 nodes, 2 rounds: s',
    target: 2.4,
    digits: 2,
    measured: (data) => largeOf(data, 100)?.seconds,
    limit: 'CPU: the programs of all nodes and the SuperLink share two cores, and keep 1.8 of them busy',
    tried:
      'Of the eleven times that a round moves the model, seven are between an app and its server: these go from file to file now, which took a third of the processor time away. Arrays are sent without a copy, and garbage is collected rarely. No gain: larger frames of HTTP/2 and larger pieces, huge pages, freed memory that the C library keeps. HTTP/1.1 instead of HTTP/2 for objects would save some 2 % of the whole. Sending a reply while its app still pushes it gains little: the push takes 0.17 s of a round.',
    profile:
      'Of the time of the SuperLink 11 % is SHA-256, 10 to 15 % TLS, 16 % files and fsync, 8 % copies of memory, 11 % threads that compile and collect garbage. Of 8.4 s of processor time 1.4 s are the start of flwr, a ServerApp and two ClientApps. The target needs about half of the processor time.',
  },
  {
    title: '1 GB, 4 nodes: MB of the SuperLink',
    target: 300,
    digits: 0,
    measured: (data) => largeOf(data, 1000, 4)?.superlink,
    limit: 'memory: buffers of transfers under way',
    tried: 'Objects go from the connection to the disk and back in pieces of 256 KiB.',
    profile: 'No object of the model is in memory as a whole.',
  },
  {
    title: '1 GB, 4 nodes: MB of a SuperNode',
    target: 300,
    digits: 0,
    measured: (data) => largeOf(data, 1000, 4)?.supernode,
    limit: 'memory: buffers of transfers under way',
    tried: 'Objects go from the connection to the disk and back in pieces of 256 KiB.',
    profile: 'No object of the model is in memory as a whole.',
  },
  {
    title: '1 GB, 4 nodes: models in the ServerApp',
    target: 2,
    digits: 2,
    measured: (data) => inModels(largeOf(data, 1000, 4), 'serverApp'),
    limit:
      'memory: the model, the sum, pieces of replies under way (42 MB), buffers of the connection (up to 60 MB), and some 110 MB of the program itself',
    tried:
      'Four replies are added to the sum in step while they arrive, in memory that is used again for the next pieces. Garbage is collected while the nodes train, so the model of an earlier round never lies beside the next sum.',
    profile:
      'No reply is ever whole in memory, however many nodes there are. Of several rounds, an app that keeps its initial model in a variable holds a third model from the second round on.',
  },
  {
    title: "558 MB, 6 nodes (a sixth of NVFLARE's study): GB of models a second",
    target: 0.4,
    isLeast: true,
    digits: 2,
    measured: (data) => rateOf(largeOf(data, 558)),
    limit:
      'CPU: the one main thread of the SuperLink needs some 0.45 s to send, receive, hash and store 100 MB of one node, and all nodes share its two cores',
    tried: 'As for 100 MB.',
    profile:
      'As for 100 MB. The study had 32 processors; with more of them the next step would be to hash beside the main thread.',
  },
  {
    title: '558 MB, 6 nodes: models at the SuperLink',
    target: 1,
    digits: 2,
    measured: (data) => inModels(largeOf(data, 558), 'superlink'),
    limit: 'memory: buffers of transfers under way',
    tried: 'As for 1 GB.',
    profile: 'As for 1 GB.',
  },
  {
    title: 'weighted mean of float32, one array: times as fast as the arithmetic of numpy',
    target: 2,
    isLeast: true,
    digits: 2,
    measured: ({ tables }) => {
      const shape = tables?.mean?.oneArray
      return shape?.numpy && ratio(shape.numpy, shape.ours)
    },
    limit:
      'memory: half of the time are page faults of the new sum (0.6 ms per MB on this machine), and most of the rest is the reading of the models at 10 to 12 GB a second',
    tried:
      'Four models are added in step, in blocks that fit into the cache, with SIMD in WebAssembly. With huge pages for all memory of app processes, as numpy asks for, the mean alone took 40 % of the time, but ClientApps needed up to twice the system time, because this virtual machine fetches such pages from its host. No gain: a plain loop over four models, more numbers per turn, reading ahead of the copies.',
    profile:
      'One array of 100 MB: page faults 45 %, copies of blocks 40 %, arithmetic 8 %. Memory of arrays below 32 MB is used again, so models of 20 arrays take less. Flower needs more than twice the time of its arithmetic to get from the bytes of replies to the bytes of the model.',
  },
]

const smallRows: readonly TargetRow[] = [
  {
    title: 'ms of a warm round, 2 nodes',
    target: 30,
    digits: 1,
    measured: ({ waterfall }) => waterfall?.roundMs,
    limit: 'CPU: seven processes on two cores take turns; each message wakes four of them one after the other',
    tried:
      'Calls that wait are held and notified, and a message and its reply travel whole. Statements of tasks are compiled once, an instruction whose objects came along is announced once, and the log of a run is read only when there is more of it.',
    profile:
      'A round costs 45 to 50 ms of processor time: SuperLink 17, two SuperNodes 14, ServerApp 6, ClientApps 6, SuperExecs 4. The profile is flat: in a SuperNode SQL 12 %, writing to sockets 10 %, log lines 4 %, no function of ours more than 3 %. In the first rounds V8 compiles the code of all programs. No part of a round waits for a timer.',
  },
  {
    title: 'ms from flwr run to the first instruction',
    target: 500,
    digits: 0,
    measured: ({ waterfall }) => waterfall && one(waterfall.steps['a ClientApp has its first instruction']),
    limit: 'CPU: flwr starts and checks the app, then a chain of calls through five programs',
    tried:
      'Programs are bundled, compiled code is kept, app processes wait for the next run and have done a task of their own before. No gain: flags of V8 that compile earlier.',
    profile:
      'flwr needs some 0.28 s of processor time: half of it loads modules, 45 ms load the TypeScript compiler of Node to check that the app parses, 35 ms read the certificates. ServerApp and ClientApp need 15 ms each from the task to the app.',
  },
  {
    title: 'CPU ms of flwr --version',
    target: 80,
    digits: 0,
    measured: ({ tables }) => tables?.start?.ours.cpuMs,
    limit: 'CPU: an empty program of Node costs 25 ms, its shell script 3 ms',
    tried: 'No module is loaded that the command does not need, and the script starts one command instead of seven.',
    profile: 'Reading, checking and linking modules is all of the rest.',
  },
  {
    title: 'heartbeats a second, mutual TLS, SQLite file, 100 under way',
    target: 10_000,
    isLeast: true,
    digits: 0,
    measured: ({ tables }) => tables?.heartbeats?.[0]?.ours.perSecond,
    limit: 'CPU, at the one thread of the server',
    tried: 'Heartbeats that change nothing but a date are kept in memory, and written together every five seconds.',
    profile:
      "Of 80 µs for a heartbeat 16 % are garbage, 10 % Node's HTTP/2, 7 % events, 7 % timers and promises; checks of caller and body take 15 %, protobuf 4 %. A bare server of Node needs a third.",
  },
  {
    title: 'simulation, numpy, 10 nodes, 20 rounds: times as fast as Ray',
    target: 2,
    isLeast: true,
    digits: 2,
    measured: ({ tables }) => {
      const { oursWithPythonApp, theirs } = tables?.simulation?.find(({ rounds }) => rounds.median === 20) ?? {}
      return oursWithPythonApp && theirs && ratio(theirs.seconds, oursWithPythonApp.seconds)
    },
    limit: 'CPU: ServerApp, SuperLink and ClientApps work one after the other in each round',
    tried:
      'Flower is imported once for all runs, ServerApps and ClientApps are forks of that process, and a ClientApp executes small messages of any node of its run. A message waits for a ClientApp until it is whole, so that it travels in one call.',
    profile:
      "Of 3.7 s of CPU the SuperLink has 1.75 s, which are 1,800 calls of Flower's ServerApp and 600 of the SuperExec: SQL 20 %, HTTP and system calls 20 %, building statements 6 %, protobuf 5 %. Flower's ServerApp has 0.95 s, the SuperExec 0.4 s, flwr 0.3 s and all ClientApps 0.3 s.",
  },
]

/** The tables of targets beside what was measured, and for each missed row what limits it. */
export function targetSections(data: Figures): string[] {
  const kinds = [
    ['Large models', largeRows],
    ['Small messages and commands', smallRows],
  ] as const
  const sections = kinds.flatMap(([title, rows]) => {
    const table = tableOf(rows, data)
    return table.length > 1 ? [`### ${title}`, markdownTable(table)] : []
  })
  if (sections.length === 0) return []
  const missed = [...largeRows, ...smallRows].filter((row) => isMet(row, data) === false)
  const why = missed.map(({ title, limit, tried, profile }) => [title, limit, tried, profile])
  return [
    '## Targets of large models and small messages',
    ...sections,
    ...(why.length === 0
      ? []
      : [
          '### What limits the rows that miss their target',
          markdownTable([['', 'what limits it', 'what was tried', 'what the profile shows'], ...why]),
        ]),
  ]
}

function tableOf(rows: readonly TargetRow[], data: Figures): Rows {
  return [
    ['', 'measured', 'target', ''],
    ...rows.flatMap((row) => {
      const value = row.measured(data)
      const met = isMet(row, data)
      if (!value || met === undefined) return []
      const bound = row.isLeast ? 'at least' : 'at most'
      return [[row.title, spreadText(value, row.digits), `${bound} ${row.target}`, met ? 'met' : 'missed']]
    }),
  ]
}

function isMet({ measured, target, isLeast }: TargetRow, data: Figures): boolean | undefined {
  const { median } = measured(data) ?? {}
  if (median === undefined || !Number.isFinite(median)) return undefined
  return isLeast ? median >= target : median <= target
}

function largeOf({ tables }: Figures, megabytes: number, nodes?: number): Spreads<LargeFigures> | undefined {
  const all = tables?.large?.map(({ ours }) => ours) ?? []
  return all.find((one) => one.megabytes.median === megabytes && (nodes ?? one.nodes.median) === one.nodes.median)
}

function inModels(figures: Spreads<LargeFigures> | undefined, of: 'superlink' | 'serverApp'): Spread | undefined {
  return figures && map(figures[of], (megabytes) => megabytes / figures.megabytes.median)
}

/** In each round a model goes to each node and back. */
function rateOf(figures: Spreads<LargeFigures> | undefined): Spread | undefined {
  if (!figures) return undefined
  const { megabytes, nodes, rounds, seconds } = figures
  const gigabytes = (2 * megabytes.median * nodes.median * rounds.median) / 1000
  return map(seconds, (each) => gigabytes / each)
}

/** How many times the other is this one, by their medians. */
function ratio(other: Spread, { median }: Spread): Spread {
  return one(other.median / median)
}

function map({ median, min, max }: Spread, change: (value: number) => number): Spread {
  const [from = Number.NaN, to = Number.NaN] = [change(min), change(max)].toSorted((a, b) => a - b)
  return { median: change(median), min: from, max: to }
}

function one(value = Number.NaN): Spread {
  return { median: value, min: value, max: value }
}
