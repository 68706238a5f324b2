import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UsageError } from '../base/errors.ts'
import { RpcError } from '../rpc/channel.ts'
import { explainRpcError } from './rpc-sentences.ts'

function sentence(error: RpcError): string {
  const explained = explainRpcError(error)
  assert.ok(explained instanceof UsageError)
  assert.equal(explained.exitStatus, 1)
  return explained.message
}

test('a refused certificate is told in the words of the SuperLink', () => {
  const words = 'The certificate of the client was not signed by the client CA.'
  assert.equal(sentence(new RpcError('unauthenticated', words, { refusalReason: 'unknown-ca' })), words)
  assert.equal(sentence(new RpcError('permission-denied', words, { refusalReason: 'role-not-granted' })), words)
})

test('a SuperLink that is not reached, or not trusted, is told in our own words', () => {
  const words = 'No server listens on 127.0.0.1:9: check the address.'
  assert.equal(sentence(new RpcError('unavailable', words, { kind: 'unreachable' })), words)
  assert.equal(sentence(new RpcError('unavailable', words, { kind: 'tls' })), words)
})

test('what Flower says for programs is said for people, from SuperLinks of both generations', () => {
  const cases = [
    ['not-found', 'Run ID not found', /^The run was not found, or belongs to another account: see flwr ls\.$/],
    ['not-found', 'Run ID not found.', /^The run was not found/],
    ['not-found', 'Node ID not found for account', /^The SuperNode was not found, or belongs to another account/],
    ['failed-precondition', 'Public key already in use', /already in use by another SuperNode/],
    ['failed-precondition', 'The provided public key is not valid', /ssh-keygen/],
    [
      'failed-precondition',
      "Federation '@a/b' does not exist or you are not a member of it.",
      /^Federation '@a\/b' does not exist, or you are not a member of it: see flwr federation ls\.$/,
    ],
    ['unimplemented', 'ControlServicer initialized without artifact provider', /does not support flwr pull/],
    ['unauthenticated', 'Access denied', /^Authentication failed: Access denied$/],
    ['permission-denied', 'You do not have permission.', /^Permission denied\.\nYou do not have permission\.$/],
    ['failed-precondition', 'Run ID 5 is already finished', /^Run ID 5 is already finished$/],
  ] as const
  for (const [status, message, expected] of cases) assert.match(sentence(new RpcError(status, message)), expected)
})

test('anything else is not ours to explain', () => {
  const bug = new TypeError('x is not a function')
  assert.equal(explainRpcError(bug), bug)
})
