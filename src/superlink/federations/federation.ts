import type { SuperlinkContext } from '../context.ts'
import { federationSettings } from '../simulation/federation-settings.ts'

/** The one federation of a SuperLink: every node and every account belongs to it. */
export const defaultFederation = {
  name: '@none/default',
  description: 'A federation for testing and development purposes.',
  archived: false,
} as const

/** A federation as clients see it: also whether, and how, its nodes are simulated. */
export async function describeFederation(ctx: Pick<SuperlinkContext, 'db' | 'simulation'>) {
  const simulation = ctx.simulation !== undefined
  const config = simulation ? await federationSettings(ctx, defaultFederation.name) : undefined
  return { ...defaultFederation, simulation, ...(config ? { config } : {}) }
}
