import { spawn } from 'node:child_process'

/** Reports states of this program to the service manager that started it. */
export interface ServiceManager {
  /** The program serves its callers. */
  ready(): void
  /** The program has begun to end. */
  stopping(): void
}

/**
 * Returns the reports for systemd (`Type=notify`), or reports without effect if no service manager asks for them. Removes the
 * address of the service manager from the environment, so that apps cannot report in the name of the program. Reports are sent
 * with `systemd-notify`, which is part of systemd, because Node has no datagram sockets for files.
 */
export function takeServiceManager(environment: NodeJS.ProcessEnv = process.env): ServiceManager {
  const socket = environment[variable]
  delete environment[variable]
  if (!socket) return { ready() {}, stopping() {} }
  const report = (state: string): void => {
    const env = { PATH: environment.PATH, [variable]: socket }
    // Without systemd-notify the unit must be of another type: its operator sees that it never becomes ready.
    spawn('systemd-notify', [state], { env, stdio: ['ignore', 'ignore', 'inherit'] }).on('error', (error) =>
      process.emitWarning(`The service manager was not told ${state}: ${error.message}`),
    )
  }
  return { ready: () => report('READY=1'), stopping: () => report('STOPPING=1') }
}

const variable = 'NOTIFY_SOCKET'
