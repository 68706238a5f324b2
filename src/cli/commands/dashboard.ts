import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { dashboardEvents } from '../../dashboard/dashboard-events.ts'
import { FleetFeed } from '../../dashboard/fleet-feed.ts'
import { readPageFiles } from '../../dashboard/page-files.ts'
import { type CreateCommand, connectionArgument } from '../command.ts'
import { openControl } from '../connect.ts'
import { startPageServer } from '../dashboard/page-server.ts'
import { runActions } from '../dashboard/run-actions.ts'
import { runCommand } from '../output.ts'
import { isRetryable, sentenceOfFailure } from '../rpc-sentences.ts'

export const dashboardCommand: CreateCommand = (context) =>
  new Command('dashboard')
    .description('show SuperNodes, runs and curves of a SuperLink in the browser, as this connection may see them')
    .argument(...connectionArgument)
    .option('--no-browser', 'print the address without opening it')
    .action(async (connectionName: string | undefined, options: { browser: boolean }) => {
      context.status = await runCommand(context, 'default', async (output) => {
        using control = await openControl(context, connectionName, output)
        await using _ = await control.watchFiles()
        const { client, connection } = control
        const { signal } = context
        const source = { client, clock: systemClock, explain: sentenceOfFailure, isRetryable }
        const feed = new FleetFeed(connection.name, { ...source, signal })
        const findStream = dashboardEvents(feed, source)
        const findAction = runActions(client)
        await using server = await startPageServer({ files: await readPageFiles(), findStream, findAction, signal })
        output.say(`The dashboard of ${connection.name} is at ${server.address}`)
        output.say('The address works once, in a browser on this machine. Ctrl-C ends the dashboard.')
        using opened = options.browser ? openBrowser(server.address) : undefined
        if (!signal.aborted) await once(signal, 'abort')
        void opened
        return 0
      })
    })

const openers: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  darwin: ['open'],
  win32: ['cmd', '/c', 'start', ''],
  linux: ['xdg-open'],
}

/** Opens the address through a private file, because arguments of a program can be read by other users. */
function openBrowser(address: string): Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'trellis-dashboard-'))
  const file = join(folder, 'dashboard.html')
  writeFileSync(file, `<!doctype html><meta http-equiv="refresh" content="0; url=${address}">`, { mode: 0o600 })
  const [command = '', ...args] = openers[process.platform] ?? ['xdg-open']
  // Without a browser there is the printed address.
  spawn(command, [...args, file], { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref()
  return { [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}
