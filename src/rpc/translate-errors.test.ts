import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordingLogger } from '../../test/harness/recording-logger.ts'
import { DomainError } from '../base/errors.ts'
import { toWireError } from './translate-errors.ts'

test('programs are asked to retry after a fault, which would end those of Flower otherwise; people see an error', () => {
  const { log, lines } = recordingLogger()
  const faultOf = (method: string) => toWireError(new Error('the disk is full'), method, log)
  for (const method of [
    'Fleet/PullMessages',
    'Runtime/AcquireTask',
    'ServerAppIo/PullMessages',
    'ClientAppIo/GetRun',
  ]) {
    const { httpStatus, grpcCode, httpSentence } = faultOf(`/flwr.proto.${method}`)
    assert.deepEqual([httpStatus, grpcCode], [503, 14], method)
    assert.doesNotMatch(httpSentence, /disk/)
  }
  const { httpStatus, grpcCode, httpSentence } = faultOf('/flwr.proto.Control/ListRuns')
  assert.deepEqual([httpStatus, grpcCode, httpSentence], [500, 13, 'Internal server error.'])
  assert.equal(lines.filter((line) => line === 'error Call failed').length, 5)
})

test('a node with too many calls that wait is asked to come again', () => {
  const { httpStatus, grpcCode } = toWireError(new DomainError('too-many-calls'), 'any', recordingLogger().log)
  assert.deepEqual([httpStatus, grpcCode], [503, 14])
})
