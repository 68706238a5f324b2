import type { Main } from '../../base/program.ts'
import { openPostgresReadOnly } from '../../db/postgres/read-only.ts'
import { openReadOnly } from '../../db/read-only.ts'
import { checkObjects, type ObjectCheck } from '../../objects/object-check.ts'
import { checkRows, parseStoredState, type StoredState, sourceOf } from './stored-state.ts'
import { checkValues } from './value-check.ts'

const summary = 'Check the database and the stored objects of a SuperLink; status 1 if there is a fault.'

/** `flower-superlink check`: prints each fault with its remedy. The SuperLink may run meanwhile. */
export const checkCommand: Main = async (argv) => {
  const state = parseStoredState('flower-superlink check', summary, checkRows, argv)
  if (!state) return 0
  let faults = 0
  const report = await checkState(state, (fault) => {
    faults++
    process.stdout.write(`${fault}\n`)
  })
  process.stdout.write(`${state.path}: ${contentText(report)}: ${faults === 0 ? 'no fault' : `${faults} faults`}.\n`)
  if (faults > 0) process.stdout.write(`${remedy}\n`)
  return faults === 0 ? 0 : 1
}

const remedy =
  'If the database file is damaged, restore it from a backup. A run that needs a missing or damaged object cannot finish: stop it with flwr stop, or restore a backup.'

/** Returns what a database holds of models and messages: after the end of its runs, nothing. */
export function contentText({ objects, files, bytes }: ObjectCheck): string {
  if (objects === 0) return '0 objects (models and messages are deleted when their run has finished)'
  return `${objects} objects, of which ${files} are files with ${bytes} bytes in all`
}

/** Calls back for each fault, and returns what was read. */
export async function checkState(state: StoredState, onFault: (fault: string) => void): Promise<ObjectCheck> {
  await using db = state.postgres ? await openPostgresReadOnly(state.postgres) : openReadOnly(state.path)
  for (const fault of await db.listFaults()) onFault(fault)
  for await (const fault of checkValues(db.read)) onFault(fault)
  const check: ObjectCheck = { objects: 0, files: 0, bytes: 0 }
  for await (const fault of checkObjects(db.read, sourceOf(state), check)) onFault(fault)
  return check
}
