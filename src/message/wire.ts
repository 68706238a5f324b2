import { create } from '@bufbuild/protobuf'
import type { UserConfig, UserConfigValue } from '../base/user-config.ts'
import {
  ContextSchema,
  MessageSchema,
  MetadataSchema,
  type Context as WireContext,
  type Message as WireMessage,
  type Metadata as WireMetadata,
} from '../gen/flwr/proto/message_pb.ts'
import {
  ConfigRecordSchema,
  MetricRecordSchema,
  RecordDictSchema,
  type ArrayRecord as WireArrayRecord,
  type ConfigRecord as WireConfigRecord,
  type MetricRecord as WireMetricRecord,
  type RecordDict as WireRecordDict,
} from '../gen/flwr/proto/recorddict_pb.ts'
import { type Scalar, ScalarSchema } from '../gen/flwr/proto/transport_pb.ts'
import { type Context, type ContextFields, createContext } from './context.ts'
import type { MessageError, Metadata } from './message.ts'
import { NdArray } from './nd-array.ts'
import { type AnyRecord, ArrayRecord, ConfigRecord, MetricRecord, RecordDict } from './records.ts'

/** Conversions between what apps hold and the protobuf of the wire. */

export function metadataToWire(metadata: Metadata): WireMetadata {
  const { srcTaskId, dstTaskId, ...rest } = metadata
  return create(MetadataSchema, {
    ...rest,
    ...(srcTaskId === undefined ? {} : { srcTaskId }),
    ...(dstTaskId === undefined ? {} : { dstTaskId }),
  })
}

export function metadataFromWire(wire: WireMetadata | undefined): Metadata {
  if (!wire) throw new TypeError('A message without metadata.')
  const { $typeName, $unknown, ...metadata } = wire
  return metadata
}

/** The message as it travels beside its objects: content is present but empty. */
export function strippedMessage(metadata: Metadata, error: MessageError | undefined): WireMessage {
  const wire = metadataToWire(metadata)
  return error
    ? create(MessageSchema, { metadata: wire, error: { code: BigInt(error.code), reason: error.reason } })
    : create(MessageSchema, { metadata: wire, content: {} })
}

export function metricRecordToWire(record: MetricRecord): WireMetricRecord {
  return create(MetricRecordSchema, { items: [...record.wireEntries()].map(([key, value]) => ({ key, value })) })
}

export function configRecordToWire(record: ConfigRecord): WireConfigRecord {
  return create(ConfigRecordSchema, { items: [...record.wireEntries()].map(([key, value]) => ({ key, value })) })
}

export function metricRecordFromWire(wire: WireMetricRecord): MetricRecord {
  const record = new MetricRecord()
  for (const { key, value } of wire.items) if (value) record.setWire(key, value)
  return record
}

export function configRecordFromWire(wire: WireConfigRecord): ConfigRecord {
  const record = new ConfigRecord()
  for (const { key, value } of wire.items) if (value) record.setWire(key, value)
  return record
}

function arrayRecordFromWire(wire: WireArrayRecord): ArrayRecord {
  return new ArrayRecord(
    wire.items.map(
      ({ key, value }) =>
        [key, new NdArray(value ?? { dtype: '', shape: [], stype: '', data: new Uint8Array() })] as const,
    ),
  )
}

/** Whole records inline: how the state of a Context travels. */
export function recordDictToWire(records: RecordDict): WireRecordDict {
  const item = (key: string, record: AnyRecord): unknown => {
    if (record instanceof ArrayRecord) {
      const items = [...record].map(([name, { dtype, shape, stype, data }]) => ({
        key: name,
        value: { dtype, shape: [...shape], stype, data },
      }))
      return { key, value: { case: 'arrayRecord', value: { items } } }
    }
    return record instanceof MetricRecord
      ? { key, value: { case: 'metricRecord', value: metricRecordToWire(record) } }
      : { key, value: { case: 'configRecord', value: configRecordToWire(record) } }
  }
  return create(RecordDictSchema, { items: [...records].map(([key, record]) => item(key, record)) as never })
}

export function recordDictFromWire(wire: WireRecordDict | undefined): RecordDict {
  const records = new RecordDict()
  for (const { key, value } of wire?.items ?? []) {
    if (value.case === 'arrayRecord') records.set(key, arrayRecordFromWire(value.value))
    else if (value.case === 'metricRecord') records.set(key, metricRecordFromWire(value.value))
    else if (value.case === 'configRecord') records.set(key, configRecordFromWire(value.value))
  }
  return records
}

export function contextToWire(context: ContextFields): WireContext {
  return create(ContextSchema, {
    runId: context.runId,
    nodeId: context.nodeId,
    seriesId: context.seriesId,
    nodeConfig: userConfigToWire(context.nodeConfig),
    runConfig: userConfigToWire(context.runConfig),
    state: recordDictToWire(context.state),
  })
}

/** `app` is the app's name, for the error messages of its configuration. */
export function contextFromWire(wire: WireContext, app?: string): Context {
  return createContext({
    ...(app ? { app } : {}),
    runId: wire.runId,
    nodeId: wire.nodeId,
    seriesId: wire.seriesId,
    nodeConfig: userConfigFromWire(wire.nodeConfig),
    runConfig: userConfigFromWire(wire.runConfig),
    state: recordDictFromWire(wire.state),
  })
}

export function userConfigToWire(config: UserConfig): Record<string, Scalar> {
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [key, scalarToWire(value)]))
}

export function userConfigFromWire(wire: Readonly<Record<string, Scalar>>): UserConfig {
  return Object.fromEntries(
    Object.entries(wire).map(([key, { scalar }]) => {
      const value = scalar.case === undefined ? '' : scalar.value
      if (value instanceof Uint8Array)
        throw new TypeError(`Configuration value '${key}' is bytes, which is not supported.`)
      return [key, value]
    }),
  )
}

function scalarToWire(value: UserConfigValue): Scalar {
  if (typeof value === 'boolean') return create(ScalarSchema, { scalar: { case: 'bool', value } })
  if (typeof value === 'string') return create(ScalarSchema, { scalar: { case: 'string', value } })
  if (typeof value === 'bigint') return create(ScalarSchema, { scalar: { case: 'sint64', value } })
  return create(ScalarSchema, { scalar: { case: 'double', value } })
}
