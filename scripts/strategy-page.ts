import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureTest, exportsOf, optionsText, parentOf, plain, root, sourceOf, summaryOf } from './sdk-source.ts'

/** The page of strategies and mods, from the doc comments of the SDK and from the recorded cases. */

interface Entry {
  /** The interface with its options. */
  readonly options?: string
  /** Name and module in Flower; absent for what Flower does not have. */
  readonly flower?: readonly [name: string, module: string]
  /** A test beside the recorded runs. */
  readonly test?: string
}

const strategyModule = 'flwr.serverapp.strategy'
const of = (options: string, test?: string) => (name: string, module: string) =>
  [name, { options, flower: [name, `${strategyModule}.${module}`], ...(test ? { test } : {}) }] as const

const dpTest = 'src/sdk/privacy/differential-privacy.test.ts'
const compressionTest = 'src/sdk/mods/compression-mods.test.ts'
const secureTest = 'src/sdk/secure-aggregation/secure-aggregation.test.ts'
const beyondTest = 'src/sdk/strategy/beyond-flower.test.ts'
const strategies: Readonly<Record<string, Entry>> = Object.fromEntries<Entry>([
  of('FedAvgOptions', 'src/sdk/strategy/fed-avg.test.ts')('FedAvg', 'fedavg'),
  of('FedAvgMOptions')('FedAvgM', 'fedavgm'),
  of('FedOptOptions')('FedAdagrad', 'fedadagrad'),
  of('MomentOptions')('FedAdam', 'fedadam'),
  of('MomentOptions')('FedYogi', 'fedyogi'),
  of('FedProxOptions')('FedProx', 'fedprox'),
  of('QFedAvgOptions')('QFedAvg', 'qfedavg'),
  of('FedAvgOptions')('FedMedian', 'fedmedian'),
  of('FedTrimmedAvgOptions')('FedTrimmedAvg', 'fedtrimmedavg'),
  of('KrumOptions')('Krum', 'krum'),
  of('MultiKrumOptions')('MultiKrum', 'multikrum'),
  of('BulyanOptions')('Bulyan', 'bulyan'),
  of('FedAvgOptions')('FedXgbBagging', 'fedxgb_bagging'),
  of('FedXgbCyclicOptions', 'src/sdk/strategy/fed-xgb-cyclic.test.ts')('FedXgbCyclic', 'fedxgb_cyclic'),
  of('DpFixedClippingOptions', dpTest)('DifferentialPrivacyServerSideFixedClipping', 'dp_fixed_clipping'),
  of('DpFixedClippingOptions')('DifferentialPrivacyClientSideFixedClipping', 'dp_fixed_clipping'),
  of('DpAdaptiveClippingOptions', dpTest)('DifferentialPrivacyServerSideAdaptiveClipping', 'dp_adaptive_clipping'),
  of('DpAdaptiveClippingOptions')('DifferentialPrivacyClientSideAdaptiveClipping', 'dp_adaptive_clipping'),
  ['Scaffold', { options: 'ScaffoldOptions', test: 'examples/digits/digits/skewed-labels.test.ts' }],
  ['GeometricMedian', { options: 'GeometricMedianOptions', test: beyondTest }],
  ['FedNova', { options: 'FedNovaOptions', test: beyondTest }],
  ['FedBuff', { options: 'FedBuffOptions', test: 'src/sdk/strategy/fed-buff.test.ts' }],
  ['FedDyn', { options: 'FedDynOptions', test: beyondTest }],
  ['CompressedUpdates', { test: compressionTest }],
  ['SecAggPlus', { options: 'SecAggPlusOptions', test: 'test/wire/secagg-plus.test.ts' }],
  ['SecureAggregation', { options: 'SecureAggregationOptions', test: secureTest }],
])

const mods: Readonly<Record<string, Entry>> = {
  fixedClipping: { flower: ['fixedclipping_mod', 'flwr.clientapp.mod.centraldp_mods'] },
  adaptiveClipping: { flower: ['adaptiveclipping_mod', 'flwr.clientapp.mod.centraldp_mods'] },
  localDp: { flower: ['LocalDpMod', 'flwr.clientapp.mod.localdp_mod'], options: 'LocalDpOptions' },
  messageSize: { flower: ['message_size_mod', 'flwr.clientapp.mod.comms_mods'] },
  arraysSize: { flower: ['arrays_size_mod', 'flwr.clientapp.mod.comms_mods'] },
  quantize: { options: 'QuantizeOptions', test: compressionTest },
  topK: { options: 'TopKOptions', test: compressionTest },
  secAggPlus: { flower: ['secaggplus_mod', 'flwr.client.mod'], test: 'test/wire/secagg-plus.test.ts' },
  secureAggregation: { test: secureTest },
  personalLayers: { test: 'src/sdk/mods/personal-layers.test.ts' },
}

const accountants: Readonly<Record<string, Entry>> = {
  RdpAccountant: {
    flower: ['RdpAccountant', 'flwr.serverapp'],
    options: 'PrivacyConfig',
    test: 'src/sdk/privacy/rdp-accountant.test.ts',
  },
}

/** Options within options. */
const nested: Readonly<Record<string, Entry>> = {
  budget: { options: 'PrivacyBudget' },
  keepBest: { options: 'KeepBest' },
}

const policies: Readonly<Record<string, Entry>> = Object.fromEntries<Entry>(
  [
    ['all'],
    ['random', 'RandomOptions'],
    ['byName'],
    ['byTag'],
    ['roundRobin', 'SizeOptions'],
    ['weightedBy', 'WeightedOptions'],
    ['notLate'],
    ['policy'],
  ].map(([name = '', options]) => [
    name,
    { test: 'src/sdk/selection/policies.test.ts', ...(options ? { options } : {}) },
  ]),
)

/** Options of `start`. */
const starts: Readonly<Record<string, Entry>> = {
  start: { options: 'StartOptions', flower: ['start', strategyModule] },
  'start of FedBuff': { options: 'AsyncStartOptions' },
}

const documented = { ...strategies, ...mods, ...policies, ...starts, ...accountants, ...nested }

/** What authors use beside strategies, mods, policies and accountants: bases, parts and errors. */
const notListed = [
  ...['Strategy', 'FedOpt', 'ScaffoldNode', 'Training', 'Result', 'RoundMetrics', 'NodeHistory', 'sampleNodes'],
  ...['collect', 'Replies', 'WeightedReplies', 'WeightedSum', 'meanOfArrays', 'meanOfMetrics'],
  ...['AggregationError', 'InconsistentRepliesError', 'PrivacyBudgetExhaustedError'],
]

/** Throws if the SDK exports something that the tables do not list, or if an entry has no proof. */
function ensureComplete(options: ReadonlySet<string>): void {
  const exported = exportsOf()
  const listed = { ...strategies, ...mods, ...policies, ...accountants }
  const missing = [
    ...exported.values.filter((name) => !(name in listed) && !notListed.includes(name)),
    ...exported.options.filter((name) => !options.has(name)),
  ]
  if (missing.length > 0) throw new Error(`scripts/strategy-page.ts does not list ${missing.join(', ')}.`)
  for (const { test } of Object.values(listed)) if (test) ensureTest(test)
}

/** Returns the paragraphs of the page. Throws if it would not be complete. */
export function strategyPage(table: (head: string[], lines: string[][]) => string): string[] {
  const interfaces = new Set(Object.values(documented).flatMap(({ options }) => options ?? []))
  const parents = [...interfaces].flatMap((name) => ancestors(name))
  ensureComplete(new Set([...parents, ...interfaces]))
  return [
    '# Strategies and mods of the SDK',
    "Made from the code by `npm run gen`. Names and options are those of Flower in the spelling of TypeScript (`server_momentum` is `serverMomentum`). *Recorded runs* are those of Flower's Python package: each of Flower 1.29, 1.41 and 1.42 must make them, and ours must send the same messages, make the same models bit by bit and write the same log lines. Where Trellis differs on purpose is in [differences](differences.md).",
    '## Strategies',
    table(
      ['strategy', 'what it does', 'in Flower', 'options', 'source', 'proof'],
      Object.entries(strategies).map(([name, entry]) => row(name, entry, runs('strategy-runs', name))),
    ),
    "Bits that numpy itself leaves to the processor cannot be equal everywhere. Sums of squares in Krum's distances and in clipping norms come from the BLAS library: ours are computed in double precision. Means over partitioned columns (FedTrimmedAvg, Bulyan) add from the smallest to the largest, as numpy does with AVX2. Powers, exponentials and logarithms are rounded correctly, from which the C library differs once in many thousand numbers. Noise comes from a cryptographic generator and is never the same.",
    '## Mods',
    table(
      ['mod', 'what it does', 'in Flower', 'options', 'source', 'proof'],
      Object.entries(mods).map(([name, entry]) => row(name, entry, runs('mods', entry.flower?.[0] ?? ''))),
    ),
    '## Selection of nodes',
    'Policies for the option `select` of `start`. A policy is a function of the online nodes, the round and the history of the nodes, and `.and(…)` chooses among the nodes that another policy chose.',
    table(
      ['policy', 'which nodes', 'in Flower', 'options', 'source', 'proof'],
      Object.entries(policies).map(([name, entry]) => row(name, entry, '')),
    ),
    '## Privacy accountant',
    table(
      ['class', 'what it does', 'in Flower', 'options', 'source', 'proof'],
      Object.entries(accountants).map(([name, entry]) => row(name, entry, '')),
    ),
    "Its results agree with those of Google's `dp-accounting` 0.6.0, which are recorded, to 1e-9. The wrappers sample a fixed number of nodes. By default they count every node in every round, as Flower does; neighbours are then two data sets of which one has no updates of some node. With `without-replacement` neighbours differ in the data of one node, the number of nodes is public, and the wrappers count half of the noise multiplier, because one node can then change a sum by twice the clipping norm. Nodes must be sampled at random from at least `populationSize` that are online; otherwise the round is refused.",
    '## Options',
    ...[...new Set([...parents, ...interfaces])].map((name) =>
      [`### ${name}`, table(['option', 'in Flower', 'meaning'], optionsOf(name))].join('\n\n'),
    ),
  ]
}

function row(name: string, { options, flower, test }: Entry, recorded: string): string[] {
  const proof = [recorded, test ? `\`${test}\`` : ''].filter(Boolean).join('; ')
  if (proof === '') throw new Error(`${name} has no test on the page of strategies.`)
  const chain = options ? [options, ...ancestors(options)].map((one) => `[${one}](#${one.toLowerCase()})`) : []
  return [
    `\`${name}\``,
    summaryOf(name),
    flower ? `\`${flower[0]}\` of \`${flower[1]}\`` : 'not there',
    chain.join(', '),
    `\`${sourceOf(name)}\``,
    proof,
  ]
}

function runs(file: string, name: string): string {
  const cases = readFileSync(join(root, 'test/wire', `${file}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n')
  const casesOfName = cases.map((line) => JSON.parse(line)).filter((one) => (one.strategy ?? one.mod) === name)
  if (name === 'FedAvg') return 'recorded means and logs (`test/wire/strategy.test.ts`)'
  return casesOfName.length > 0
    ? `${casesOfName.length} recorded ${casesOfName.length === 1 ? 'run' : 'runs'} (\`test/wire/${file === 'mods' ? 'mods' : file}.test.ts\`)`
    : ''
}

function ancestors(name: string): string[] {
  const parent = parentOf(name)
  return parent ? [parent, ...ancestors(parent)] : []
}

/** Options that Flower does not have, beside those of strategies that it does not have. */
const ours = [
  ...['budget', 'normRule', 'roundDeadline', 'minReplies', 'select', 'selectEvaluate'],
  ...['onRound', 'keepBest', 'checkpoint', 'numUpdates'],
]

function isOurs(name: string, option: string): boolean {
  const users = Object.values(documented).filter(({ options }) => options === name)
  return ours.includes(option) || (users.length > 0 && users.every(({ flower }) => !flower))
}

/** Each option with its comment. */
function optionsOf(name: string): string[][] {
  const pattern = /(?:\/\*\*([\s\S]*?)\*\/\s*)?readonly (\w+)\??:/g
  return [...optionsText(name).body.matchAll(pattern)]
    .filter(([, comment = '']) => !comment.includes('@internal'))
    .map(([, comment = '', option = '']) => [
      `\`${option}\``,
      isOurs(name, option) ? 'not there' : `\`${snakeCase(option)}\``,
      plain(comment).split(' @example')[0] || 'the same for evaluation',
    ])
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]|(?<=[a-z])\d/g, (part) => `_${part.toLowerCase()}`)
}
