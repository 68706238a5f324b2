import { errorText } from '../base/errors.ts'
import type { Context } from '../message/context.ts'
import { log } from './log.ts'

/** A generator that yields once: what is before `yield` runs before the app, and what is after it when the app has ended. */
export type Lifespan = (context: Context) => AsyncGenerator<void, void> | Generator<void, void>

/** Runs the app between the two parts of its lifespan; the second part runs also if the app throws. */
export async function withinLifespan<T>(
  lifespan: Lifespan | undefined,
  context: Context,
  app: () => Promise<T> | T,
): Promise<T> {
  if (!lifespan) return app()
  const span = lifespan(context)
  if ((await span.next()).done) throw new Error('A lifespan function must yield once, but it does not yield.')
  let result: T
  try {
    result = await app()
  } catch (error) {
    await leave(span).catch((second: unknown) => log.error(`The end of the lifespan failed too: ${errorText(second)}`))
    throw error
  }
  await leave(span)
  return result
}

async function leave(span: ReturnType<Lifespan>): Promise<void> {
  if (!(await span.next()).done) throw new Error('A lifespan function must yield once, but it yields again.')
}
