import type { Listener } from '../../rpc/listener.ts'
import type { DashboardConfig } from '../config-dashboard.ts'
import type { SuperlinkContext } from '../context.ts'
import type { createListen } from '../listen.ts'
import type { WallScreenOptions } from './wall-screen.ts'

const name = 'Dashboard'

/** Opens the address for wall screens. Without a token every peer must be an account. */
export async function openScreens(
  ctx: Pick<SuperlinkContext, 'clock' | 'log'>,
  { address, token }: DashboardConfig,
  { listen, ...options }: Omit<WallScreenOptions, 'token' | 'name'> & { listen: ReturnType<typeof createListen> },
): Promise<Listener> {
  // Loaded here, because most SuperLinks serve no page.
  const { createWallScreen } = await import('./wall-screen.ts')
  const site = await createWallScreen(ctx, { ...options, token, name })
  return listen(name, address, [], token === undefined ? 'cli' : undefined, site)
}
