import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { Bulyan } from './bulyan.ts'
import { FedAdagrad } from './fed-adagrad.ts'
import { FedAdam } from './fed-adam.ts'
import { FedAvgM } from './fed-avg-m.ts'
import { FedProx } from './fed-prox.ts'
import { FedTrimmedAvg } from './fed-trimmed-avg.ts'
import { FedYogi } from './fed-yogi.ts'
import { Krum } from './krum.ts'
import { MultiKrum } from './multi-krum.ts'
import { QFedAvg } from './q-fed-avg.ts'

mock.method(process.stderr, 'write', () => true)

test('options that make no sense are refused with strategy, name and bounds', () => {
  const cases: [() => unknown, string][] = [
    [() => new FedYogi({ eta: -1 }), 'FedYogi: eta must be a number above 0, not -1.'],
    [() => new FedAdagrad({ tau: -1 }), 'FedAdagrad: tau must be a number of 0 or more, not -1.'],
    [() => new FedAdam({ beta1: 1 }), 'FedAdam: beta1 must be a number of 0 or more and below 1, not 1.'],
    [() => new FedAvgM({ serverMomentum: Number.NaN }), 'FedAvgM: serverMomentum must be a number, not NaN.'],
    [
      () => new FedProx({ proximalMu: Number.POSITIVE_INFINITY }),
      'FedProx: proximalMu must be a number, not Infinity.',
    ],
    [() => new QFedAvg({ clientLearningRate: 0 }), 'QFedAvg: clientLearningRate must be a number above 0, not 0.'],
    [
      () => new FedTrimmedAvg({ beta: 0.5 }),
      'FedTrimmedAvg: beta must be a number of 0 or more and below 0.5, not 0.5.',
    ],
    [
      () => new Krum({ numMaliciousNodes: 1.5 }),
      'Krum: numMaliciousNodes must be a whole number of 0 or more, not 1.5.',
    ],
    [
      () => new MultiKrum({ numNodesToSelect: 0 }),
      'MultiKrum: numNodesToSelect must be a whole number of 1 or more, not 0.',
    ],
    [
      () => new Bulyan({ numMaliciousNodes: -1n }),
      'Bulyan: numMaliciousNodes must be a whole number of 0 or more, not -1.',
    ],
  ]
  for (const [build, message] of cases) assert.throws(build, { name: 'UsageError', message })
})

test('whole numbers of an app’s configuration, which are bigints, are taken', () => {
  assert.equal(new FedAdam({ eta: 1n }).eta, 1)
  assert.equal(new MultiKrum({ numNodesToSelect: 3n }).numNodesToSelect, 3)
})
