import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { UserConfig } from '../base/user-config.ts'
import type { ConfigReader } from './config-reader.ts'
import { createContext } from './context.ts'

const read = (runConfig: UserConfig): ConfigReader => createContext({ runConfig, app: 'acme/digits' }).config
const says = (message: string) => ({ name: 'TypeError', message })

test('values are read as the type that the app needs', () => {
  const config = read({ rounds: 3n, lr: 0.1, whole: 2, name: 'sgd', fast: false })
  assert.deepEqual([config.number('rounds'), config.number('lr'), config.number('whole')], [3, 0.1, 2])
  assert.deepEqual([config.integer('rounds'), config.integer('whole')], [3, 2])
  assert.deepEqual([config.string('name'), config.boolean('fast')], ['sgd', false])
  assert.deepEqual([config.has('lr'), config.has('toString')], [true, false])
})

test('a default stands for a missing value, but not for a wrong one', () => {
  const config = read({ lr: 'fast', off: false })
  assert.deepEqual([config.number('none', 0), config.string('none', ''), config.boolean('off', true)], [0, '', false])
  assert.throws(() => config.number('lr', 0.1), /'lr' is "fast" in the configuration of app acme\/digits/)
})

test('a missing value is named with its app and the places to set it', () => {
  assert.throws(
    () => read({}).number('lr'),
    says(
      "The configuration of app acme/digits has no 'lr': set lr = 0.1 under [tool.flwr.app.config] in its pyproject.toml, or start the run with --run-config 'lr=0.1'.",
    ),
  )
  assert.throws(
    () => createContext().config.node.integer('partition-id'),
    says(
      "The configuration of the SuperNode, which the app reads, has no 'partition-id': start flower-supernode with --node-config 'partition-id=3'.",
    ),
  )
})

test('a value of another type is shown', () => {
  const config = read({ rounds: 1.5, large: 2n ** 53n + 1n, flag: true, text: 'no' })
  const wrong: [() => unknown, RegExp][] = [
    [() => config.integer('rounds'), /'rounds' is 1\.5 in .* which is not an integer: set rounds = 3 under/],
    [() => config.number('large'), /'large' is 9007199254740993 in .* which is not a number/],
    [() => config.integer('large'), /not an integer/],
    [() => config.string('flag'), /'flag' is true in .* which is not a string: set flag = "text"/],
    [() => config.boolean('text'), /'text' is "no" in .* which is not a boolean/],
  ]
  for (const [work, message] of wrong) assert.throws(work, message)
})

test("a SuperNode's configuration is apart from that of the run", () => {
  const { config } = createContext({ runConfig: { id: 1n }, nodeConfig: { id: 2n } })
  assert.deepEqual([config.integer('id'), config.node.integer('id')], [1, 2])
})
