import { Command } from 'commander'
import { oneLine, printableJson } from '../../base/printable.ts'
import { RpcError } from '../../rpc/rpc-error.ts'
import { type CliContext, type CreateCommand, connectionArgument, formatOption, parseId } from '../command.ts'
import { type ControlClient, openControl } from '../connect.ts'
import { keepFollowing } from '../follow.ts'
import { type Output, runCommand, writeLine } from '../output.ts'

interface Options {
  readonly follow?: boolean
  readonly after?: string
  readonly format: string
}

export const eventsCommand: CreateCommand = (context) =>
  new Command('events')
    .description(
      'print what happened to runs, SuperNodes and certificates, the oldest event first; with --format json one JSON object a line',
    )
    .argument(...connectionArgument)
    .option('-f, --follow', 'go on with further events as they happen')
    .option('--after <sequence>', 'start after the event with this sequence; by default with the oldest that is kept')
    .addOption(formatOption())
    .action(async (connectionName: string | undefined, options: Options) => {
      context.status = await runCommand(context, options.format, async (output) => {
        const after = options.after === undefined ? 0n : parseId(options.after, '--after')
        using control = await openControl(context, connectionName, output)
        await using _ = await control.watchFiles()
        await printEvents(context, control.client, { after, follow: options.follow === true, output })
        return 0
      })
    })

/** Prints events until there are no more, or, if it follows, until the user leaves: it waits for a SuperLink that is away. */
async function printEvents(
  context: CliContext,
  client: ControlClient,
  { after, follow, output }: { after: bigint; follow: boolean; output: Output },
): Promise<void> {
  const { signal } = context
  let afterSequence = after
  const once = async (onAnswer: () => void): Promise<void> => {
    let isFirst = true
    for await (const { events, oldestSequence } of client.streamEvents({ afterSequence, follow }, { signal })) {
      onAnswer()
      if (isFirst && afterSequence > 0n && oldestSequence > afterSequence + 1n)
        warn(`Events before ${oldestSequence} are not kept any more: some after ${afterSequence} may be missing.`)
      isFirst = false
      for (const { sequence, json } of events) {
        if (sequence <= afterSequence)
          warn(
            `The SuperLink has no event ${afterSequence} and counts from 1 again: it runs without --database, or its database was replaced. Events may be missing.`,
          )
        printEvent(json, output)
        afterSequence = sequence
      }
    }
    // A SuperLink that stops ends the stream too.
    if (follow && !signal.aborted)
      throw new RpcError('unavailable', 'The SuperLink has ended the stream.', { kind: 'unreachable' })
  }
  const onOutage = (sentence: string | undefined): void =>
    warn(sentence === undefined ? 'The SuperLink is back.' : `Waiting for the SuperLink: ${sentence}`)
  if (follow) await keepFollowing(signal, Number.POSITIVE_INFINITY, once, onOutage)
  else await once(() => {})
}

/** On standard error in every format: standard output holds events and nothing else. */
function warn(sentence: string): void {
  writeLine(process.stderr, sentence)
}

function printEvent(json: string, { format }: Output): void {
  const event = parseEvent(json)
  if (!event) warn('The SuperLink has sent an event that is no JSON object.')
  else if (format === 'json') writeLine(process.stdout, printableJson(JSON.stringify(event)))
  else writeLine(process.stdout, eventLine(event))
}

interface EventView {
  readonly time?: unknown
  readonly type?: unknown
  readonly data?: { readonly sentence?: unknown }
}

function parseEvent(json: string): EventView | undefined {
  try {
    const event: unknown = JSON.parse(json)
    return typeof event === 'object' && event !== null ? event : undefined
  } catch {
    return undefined
  }
}

function eventLine({ time, type, data }: EventView): string {
  const text = (value: unknown): string => oneLine(String(value ?? ''))
  return `${text(time).replace(/\.\d+Z$/, 'Z')}  ${text(type).padEnd(27)}  ${text(data?.sentence)}`
}
