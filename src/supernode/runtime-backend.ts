import { createClientBackend } from '../execution/client-backend.ts'
import { contextFromWire, contextToWire } from '../message/wire.ts'
import type { RuntimeBackend } from '../tasks/runtime-service.ts'
import type { SupernodeContext } from './context.ts'
import type { Work } from './work.ts'

/** What ClientApps ask of a SuperNode. */
export function createSupernodeBackend(ctx: SupernodeContext): RuntimeBackend {
  const { db, objects, tasks, clock } = ctx
  return createClientBackend<Work>({
    ...{ db, objects, tasks, clock, sendsLeftObjects: true },
    component: async (task) => (await ctx.runs.get(task.runId)).component,
    findRun: async (runId) => (await ctx.runs.get(runId)).wire,
    findExecution: (taskId) => ctx.work.ofTask(taskId),
    async taskInput(task, _work, { isKnownFab }) {
      const run = await ctx.runs.get(task.runId)
      const { hashStr } = run.fab
      return {
        context: contextToWire(run.context),
        run: run.wire,
        fab: isKnownFab(hashStr) ? { hashStr } : run.fab,
      }
    },
    // The instruction is kept until its reply has reached the SuperLink.
    confirmReceived: async () => {},
    async prepareContext({ runId }, context) {
      const run = await ctx.runs.get(runId)
      const left = contextFromWire(context)
      return { keep: async () => ctx.runs.keep(run, left), [Symbol.asyncDispose]: async () => {} }
    },
  })
}
