import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toBinary } from '@bufbuild/protobuf'
import { DomainError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Fleet } from '../gen/flwr/proto/fleet_pb.ts'
import type { CallHead, IncomingCall } from './call.ts'
import { type Method, methodsOf } from './dispatch.ts'
import type { Interceptor } from './interceptor.ts'
import { callerKind, defineService, type Service } from './service.ts'

/** A Fleet service that notes its steps; its callers are let in unless `refused` names a step. */
function setUp(refused?: 'identify' | 'verify') {
  const steps: string[] = []
  const enter = (step: string): void => {
    steps.push(step)
    if (step === refused) throw new DomainError('token-invalid')
  }
  const row = { caller: 'anyone', of: 'caller', changes: false, body: 'small' } as const
  const names = Object.keys(Fleet.method)
  const respond = () => {
    enter('handler')
    return {}
  }
  const service: Service = defineService<typeof Fleet, { anyone: string }>(Fleet, {
    access: Object.fromEntries(names.map((name) => [name, row])) as never,
    callers: {
      anyone: callerKind(
        async () => enter('identify'),
        async () => {
          enter('verify')
          return 'the caller'
        },
      ),
    },
    handlers: Object.fromEntries(names.map((name) => [name, respond])) as never,
  })
  const watch: Interceptor = {
    onHead: () => enter('onHead'),
    onCaller: () => enter('onCaller'),
    onRequest: (_call, _method, caller) => enter(`onRequest by ${caller}`),
    onResponse: (_call, _method, { bytes }) => enter(`onResponse of ${bytes} bytes`),
    onError: (_head, _method, error, step) => enter(`onError ${(error as DomainError).code} ${step}`),
  }
  const method = methodsOf([service], [watch]).find(({ route }) => route === 'fleet/get-run') as Method
  const body = toBinary(Fleet.method.getRun.input, {
    $typeName: Fleet.method.getRun.input.typeName,
    runId: 7n,
  })
  const incoming: IncomingCall = {
    head: { method: method.path } as CallHead,
    async receive(bytesMax) {
      enter(`receive at most ${bytesMax} bytes`)
      return body
    },
  }
  return { steps, call: () => method.unary(incoming) }
}

const receive = `receive at most ${limits.bodies.small.bytesMax} bytes`

test('a call is let in by its head before its body is received, and its interceptors see every step in order', async () => {
  const { steps, call } = setUp()
  await call()
  const before = ['onHead', 'identify', 'onCaller', receive, 'verify', 'onRequest by the caller']
  assert.deepEqual(steps, [...before, 'handler', 'onResponse of 0 bytes'])
})

test('the body of a caller that may not call is never received', async () => {
  const { steps, call } = setUp('identify')
  await assert.rejects(call(), { code: 'token-invalid' })
  assert.deepEqual(steps, ['onHead', 'identify', 'onError token-invalid before'])
})

test('a caller that its body disproves reaches no handler', async () => {
  const { steps, call } = setUp('verify')
  await assert.rejects(call(), { code: 'token-invalid' })
  assert.deepEqual(steps, ['onHead', 'identify', 'onCaller', receive, 'verify', 'onError token-invalid before'])
})
