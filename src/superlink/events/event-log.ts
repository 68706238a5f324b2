import { randomUUID } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { shortened } from '../../base/printable.ts'
import type { AfterCommit, Database, Db } from '../../db/database.ts'
import type { Bells } from '../context.ts'
import { type EventData, type EventType, eventSource } from './event-catalog.ts'
import * as eventStore from './event-store.ts'
import * as outboxStore from './outbox-store.ts'

/** So that all texts of an event, written as JSON, fit into `limits.eventRecordBytesMax`. */
const textCharactersMax = 1000

/** What happens in a federation, for programs that follow it and for the webhook. */
export class EventLog {
  readonly #db: Database
  readonly #clock: Pick<Clock, 'now'>
  readonly #bells: Pick<Bells, 'events'>
  /** Whether events are queued for a webhook. */
  readonly #hasWebhook: boolean

  constructor({
    db,
    clock,
    bells,
    hasWebhook,
  }: {
    db: Database
    clock: Pick<Clock, 'now'>
    bells: Pick<Bells, 'events'>
    hasWebhook: boolean
  }) {
    this.#db = db
    this.#clock = clock
    this.#bells = bells
    this.#hasWebhook = hasWebhook
  }

  /** Records an event in the transaction that makes it true: neither is kept without the other. */
  async record<Type extends EventType>(
    tx: Db,
    afterCommit: AfterCommit,
    type: Type,
    data: EventData<Type>,
    /** The owner of the run that the event is about. */
    owner?: { readonly aid: string; readonly organization: string },
  ): Promise<void> {
    const at = this.#clock.now()
    const event = await eventStore.insert(tx, {
      eventId: randomUUID(),
      at,
      type,
      owner,
      data: JSON.stringify(shortTexts(data)),
    })
    if (this.#hasWebhook)
      await outboxStore.insert(tx, {
        position: event.position,
        eventId: event.eventId,
        body: eventJson(event),
        queuedAt: at,
      })
    afterCommit(() => this.#bells.events.ring('events'))
  }

  /** Records an event that changes nothing else. */
  recordAlone<Type extends EventType>(type: Type, data: EventData<Type>): Promise<void> {
    return this.#db.transaction((tx, afterCommit) => this.record(tx, afterCommit, type, data))
  }
}

/** The event as programs receive it: a CloudEvent in its JSON format. */
export function eventJson({ position, eventId, at, type, data }: eventStore.StoredEvent): string {
  return JSON.stringify({
    specversion: '1.0',
    id: eventId,
    source: eventSource,
    type,
    time: new Date(at).toISOString(),
    sequence: String(position),
    datacontenttype: 'application/json',
    data: JSON.parse(data) as unknown,
  })
}

/** Names and reasons come from peers: each text has a bound here. */
function shortTexts(data: object): object {
  return Object.fromEntries(
    Object.entries(data).map(([name, value]) => [
      name,
      typeof value === 'string' ? shortened(value, textCharactersMax) : value,
    ]),
  )
}
