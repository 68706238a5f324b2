import { once } from 'node:events'
import { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { printableLines } from '../../base/printable.ts'
import { FleetFeed } from '../../dashboard/fleet-feed.ts'
import type { FleetState } from '../../web/model.ts'
import { type CreateCommand, connectionArgument } from '../command.ts'
import { openControl } from '../connect.ts'
import { fleetScreen } from '../fleet-screen.ts'
import { runCommand, showsColors } from '../output.ts'
import { sentenceOfFailure } from '../rpc-sentences.ts'

/** Another screen of the terminal, so that what was there returns at the end; and its cursor. */
const enter = '\x1b[?1049h\x1b[?25l'
const leave = '\x1b[?25h\x1b[?1049l'

export const topCommand: CreateCommand = (context) =>
  new Command('top')
    .description('watch the SuperNodes and runs of a SuperLink; prints them once if the output is not a terminal')
    .argument(...connectionArgument)
    .action(async (connectionName: string | undefined) => {
      context.status = await runCommand(context, 'default', async (output) => {
        using control = await openControl(context, connectionName, output)
        await using _ = await control.watchFiles()
        const stop = new AbortController()
        const signal = AbortSignal.any([context.signal, stop.signal])
        const feed = new FleetFeed(control.connection.name, {
          client: control.client,
          clock: systemClock,
          signal,
          explain: sentenceOfFailure,
        })
        if (process.stdout.isTTY) await watch(feed, context.signal)
        else {
          const state = await firstLook(feed, context.signal)
          stop.abort()
          if (state?.problem) output.note(state.problem.sentence)
          if (!state || state.problem) return 1
          const size = { columns: Number.POSITIVE_INFINITY, rows: Number.POSITIVE_INFINITY }
          output.say(fleetScreen(state, size).join('\n'))
        }
        return 0
      })
    })

/** Draws the screen at each change until the user leaves. */
async function watch(feed: Pick<FleetFeed, 'subscribe'>, signal: AbortSignal): Promise<void> {
  const { stdout } = process
  let last: FleetState | undefined
  const draw = (): void => {
    if (!last) return
    const size = { columns: stdout.columns || 80, rows: stdout.rows || 24 }
    const lines = printableLines(fleetScreen(last, size).slice(0, size.rows).join('\n'), {
      colors: showsColors(stdout),
    })
    stdout.write(`\x1b[H${lines.replaceAll('\n', '\x1b[K\n')}\x1b[J`)
  }
  stdout.write(enter)
  stdout.on('resize', draw)
  const end = feed.subscribe((state) => {
    last = state
    draw()
  })
  try {
    if (!signal.aborted) await once(signal, 'abort')
  } finally {
    end()
    stdout.off('resize', draw)
    stdout.write(leave)
  }
}

/** The state after the first look, also if that failed; `undefined` if the user left. */
function firstLook(feed: Pick<FleetFeed, 'subscribe'>, signal: AbortSignal): Promise<FleetState | undefined> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
    feed.subscribe((state) => {
      if (state.at !== '' || state.problem) resolve(state)
    })
  })
}
