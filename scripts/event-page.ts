import { eventFields, eventTypes } from '../src/superlink/events/event-catalog.ts'

type Table = (head: readonly string[], lines: readonly (readonly string[])[]) => string

/** The page about events: what makes each, its fields, and how they reach programs. */
export function eventPage(table: Table): string[] {
  const rows = Object.entries(eventTypes).map(([type, row]) => {
    const { when, required }: { when: string; required: readonly string[] } = row
    const optional: readonly string[] = 'optional' in row ? row.optional : []
    const names = [...required.map((name) => `\`${name}\``), ...optional.map((name) => `\`${name}\`?`)]
    return [`\`${type}\``, when, names.join(', ')]
  })
  const fields = Object.entries(eventFields).map(([name, field]) => {
    const values = 'enum' in field ? `: ${field.enum.map((value) => `\`${value}\``).join(', ')}` : ''
    return [`\`${name}\``, field.type, `${field.description}${values}`]
  })
  return [
    '# Events of a SuperLink',
    'Made from the table in `src/superlink/events/event-catalog.ts` by `npm run gen`. Each event is a [CloudEvent 1.0](https://github.com/cloudevents/spec) in its JSON format; [events.schema.json](events.schema.json) is its JSON Schema.',
    'A type or field that is here stays. Further ones may come: ignore those that you do not know.',
    table(['type', 'when', 'fields of `data`'], rows),
    table(['field', 'type', 'meaning'], fields),
    '## In the terminal',
    '`flwr events` prints the events that are kept: the last 100,000, for 30 days. `--follow` goes on with further ones, also after a restart of the SuperLink; `--after SEQUENCE` starts after an event that you have. Without `--database`, and after a backup was restored, `sequence` starts again: `flwr events` then warns and prints all events. With `--format json`, each line is an event.',
    'Accounts see the events of the runs that they see in `flwr ls`. Events about SuperNodes, certificates and refusals are shown to admins.',
    '## To another program',
    'With `--webhook URL`, the SuperLink sends each event to that URL by POST, and again until the response has a status of 2xx: at least once. Use `id` to notice an event that comes again, and `sequence` for the order. Events wait in the database, so they survive a restart (with `--database`).',
    'After a failure the next attempt follows after 1, 2, 4 … seconds, at most ten minutes. After 3 days, or if 100,000 events wait, the oldest are given up: `trellis_webhook_dead_total` counts them. Redirects are not followed. Other users of the machine can see the URL in `ps`: if it holds a secret of the receiver, give the SuperLink a machine or container of its own, or send events to a proxy that knows the secret. The receiver needs a certificate of a public CA, or of `--webhook-ca-certfile`.',
    'Requests are signed as [Standard Webhooks](https://www.standardwebhooks.com) describes: `webhook-signature` is `v1,` and the HMAC-SHA256, in base64, of `webhook-id`, `webhook-timestamp` and the body, joined by dots. The key is the base64 after `whsec_` in `--webhook-secret-file`. Reject requests whose `webhook-timestamp` is older than five minutes.',
  ]
}
