import { PythonNumber, pythonJson } from '../../message/python-json.ts'
import { type PythonObject, type PythonValue, readPythonJson } from '../../message/python-json-reader.ts'
import { InconsistentRepliesError } from './inconsistent-replies.ts'

/**
 * Puts the trees of several XGBoost models, saved as JSON, into one, as Flower does: the trees that each node has grown
 * in this round are added to the model that all nodes received. The bytes are those of Python's `json.dumps`.
 */
export function baggedModel(model: Uint8Array, grown: readonly Uint8Array[]): Uint8Array {
  // An empty model becomes the first one that a node returns, byte by byte.
  const [start, added] = model.length === 0 ? [grown[0] ?? model, grown.slice(1)] : [model, grown]
  if (added.length === 0) return start
  const whole = readModel(start)
  const target = boosterOf(whole)
  for (const bytes of added) addTrees(target, boosterOf(readModel(bytes)))
  return new TextEncoder().encode(pythonJson(whole))
}

interface Booster {
  readonly params: PythonObject
  readonly indptr: PythonValue[]
  readonly trees: PythonValue[]
  readonly treeInfo: PythonValue[]
}

function addTrees(target: Booster, grown: Booster): void {
  const before = wholeNumber(target.params.get('num_trees'))
  const count = wholeNumber(grown.params.get('num_parallel_tree'))
  target.params.set('num_trees', String(before + count))
  target.indptr.push(new PythonNumber(String(wholeNumber(target.indptr.at(-1)) + count)))
  for (let index = 0; index < count; index++) {
    const tree = grown.trees[index]
    if (!(tree instanceof Map)) throw notXgboost()
    target.trees.push(tree.set('id', new PythonNumber(String(before + index))))
    target.treeInfo.push(new PythonNumber('0'))
  }
}

function boosterOf(whole: PythonValue): Booster {
  const model = ['learner', 'gradient_booster', 'model'].reduce<PythonValue | undefined>(
    (value, key) => (value instanceof Map ? value.get(key) : undefined),
    whole,
  )
  if (!(model instanceof Map)) throw notXgboost()
  const params = model.get('gbtree_model_param')
  const [indptr, trees, treeInfo] = [model.get('iteration_indptr'), model.get('trees'), model.get('tree_info')]
  if (!(params instanceof Map && Array.isArray(indptr) && Array.isArray(trees) && Array.isArray(treeInfo)))
    throw notXgboost()
  return { params, indptr, trees, treeInfo }
}

function readModel(bytes: Uint8Array): PythonValue {
  try {
    return readPythonJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw notXgboost(error)
  }
}

/** XGBoost writes some numbers as text. */
function wholeNumber(value: PythonValue | undefined): number {
  const number = Number(value instanceof PythonNumber ? value.text : (value ?? Number.NaN))
  if (!Number.isSafeInteger(number) || number < 0) throw notXgboost()
  return number
}

function notXgboost(cause?: unknown): InconsistentRepliesError {
  const why = cause instanceof Error ? ` ${cause.message}` : ''
  return new InconsistentRepliesError(
    `A model is no XGBoost model of trees in JSON: return booster.save_raw("json") as the only array.${why}`,
  )
}
