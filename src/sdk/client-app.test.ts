import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createContext } from '../message/context.ts'
import { Message } from '../message/message.ts'
import { ConfigRecord, RecordDict } from '../message/records.ts'
import { ClientApp, type Mod } from './client-app.ts'

const context = createContext({ nodeId: 2n })
const message = (messageType: string): Message =>
  Message.create({ content: new RecordDict({ c: new ConfigRecord({ path: '' }) }), messageType, dstNodeId: 2n })
const named =
  (name: string) =>
  (asked: Message): Message =>
    asked.reply(new RecordDict({ c: new ConfigRecord({ handler: name }) }))
const handlerOf = async (app: ClientApp, messageType: string): Promise<unknown> =>
  (await app.handle(message(messageType), context)).content.config('c').get('handler')

test('each kind of message goes to its function, actions to theirs', async () => {
  const app = new ClientApp()
    .train(named('train'))
    .train('personalise', named('personalise'))
    .evaluate(named('evaluate'))
    .query(named('query'))
  assert.equal(await handlerOf(app, 'train'), 'train')
  assert.equal(await handlerOf(app, 'train.personalise'), 'personalise')
  assert.equal(await handlerOf(app, 'evaluate'), 'evaluate')
  assert.equal(await handlerOf(app, 'query'), 'query')
})

test('a message without a function fails with the words that Flower uses', async () => {
  const app = new ClientApp().train(named('train'))
  await assert.rejects(app.handle(message('train.other'), context), /No train function registered with name 'other'/)
  await assert.rejects(app.handle(message('query'), context), /No query function registered with name 'default'/)
})

test('two functions for one kind of message are refused when the app is written', () => {
  assert.throws(() => new ClientApp().train(named('a')).train(named('b')), /already/)
  assert.throws(() => new ClientApp().train('not an identifier', named('a')), /not an identifier/)
})

test('mods wrap the function: those of the app outside, the first outermost', async () => {
  const order: string[] = []
  const mod =
    (name: string): Mod =>
    async (asked, ctx, next) => {
      order.push(`${name} in`)
      const reply = await next(asked, ctx)
      order.push(`${name} out`)
      return reply
    }
  const app = new ClientApp({ mods: [mod('one'), mod('two')] }).train(
    (asked) => {
      order.push('train')
      return asked.reply(new RecordDict())
    },
    { mods: [mod('three')] },
  )
  await app.handle(message('train'), context)
  assert.deepEqual(order, ['one in', 'two in', 'three in', 'train', 'three out', 'two out', 'one out'])
})

test('a mod may answer in place of the function', async () => {
  const app = new ClientApp({ mods: [(asked) => named('mod')(asked)] }).train(named('train'))
  assert.equal(await handlerOf(app, 'train'), 'mod')
})
