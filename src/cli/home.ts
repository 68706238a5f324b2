import { homedir } from 'node:os'
import { join } from 'node:path'

/** Flower's folder of this user: `FLWR_HOME` as it is, else `~/.flwr`. */
export function flwrHome(environment: NodeJS.ProcessEnv = process.env): string {
  return environment.FLWR_HOME || join(homedir(), '.flwr')
}
