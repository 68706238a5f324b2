import type { Bell } from '../base/bell.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { Database } from '../db/database.ts'
import type { ObjectStore } from '../objects/object-store.ts'
import type { Tasks } from '../tasks/tasks.ts'
import type { SupernodeConfig } from './config.ts'
import type { FleetClient } from './fleet.ts'
import type { Runs } from './runs.ts'
import type { WorkBook } from './work.ts'

/** What the rules of the SuperNode work with. Functions ask for the parts they use. */
export interface SupernodeContext {
  readonly config: SupernodeConfig
  readonly db: Database
  readonly objects: ObjectStore
  readonly tasks: Tasks
  readonly clock: Clock
  readonly log: Logger
  readonly fleet: FleetClient
  readonly runs: Runs
  readonly work: WorkBook
  /** Rung when an instruction has been answered: there is room for another. */
  readonly room: Bell<'room'>
  /** Aborted when the program stops. */
  readonly signal: AbortSignal
  /** Aborted when no more instructions are taken or started: those under way may still complete. */
  readonly receiving: AbortSignal
}
