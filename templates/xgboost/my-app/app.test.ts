import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ArrayRecord, ClientApp, InMemoryGrid, MetricRecord, RecordDict } from 'trellis-fl'
import { app as serverApp } from './server-app.ts'

/** In the place of the Python ClientApp: every node grows the same tree, a single leaf, in XGBoost's JSON. */
const tree = JSON.stringify({
  learner: {
    gradient_booster: {
      model: {
        gbtree_model_param: { num_parallel_tree: '1', num_trees: '1' },
        iteration_indptr: [0, 1],
        tree_info: [0],
        trees: [{ id: 0, base_weights: [0.5], tree_param: { num_nodes: '1' } }],
      },
      name: 'gbtree',
    },
  },
  version: [3, 0, 0],
})
const treesIn = (model: ArrayRecord): number => {
  const text = Buffer.from(model.getArray('0').values('uint8')).toString()
  return text ? JSON.parse(text).learner.gradient_booster.model.trees.length : 0
}
const clientApp = new ClientApp()
  .train((message) => {
    const metrics = new MetricRecord({ 'num-examples': 1 })
    return message.reply(new RecordDict({ arrays: ArrayRecord.fromList([Buffer.from(tree)]), metrics }))
  })
  .evaluate((message) => {
    const trees = treesIn(message.content.arrays('arrays'))
    return message.reply(new RecordDict({ metrics: new MetricRecord({ 'num-examples': 1, auc: 0.5, trees }) }))
  })

test('each round adds one tree of every node', async () => {
  const nodes = [{ app: clientApp }, { app: clientApp }]
  const grid = new InMemoryGrid(nodes, { runConfig: { 'num-server-rounds': 3, 'min-nodes': 2 } })
  await grid.run(serverApp)
  assert.equal(grid.progress.at(-1)?.metrics?.trees, 6)
})
