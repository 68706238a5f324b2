import { fromBinary } from '@bufbuild/protobuf'
import { ConfigRecordSchema, MetricRecordSchema } from '../gen/flwr/proto/recorddict_pb.ts'
import { parseObject } from '../objects/object-format.ts'
import { type GetObject, namedChildren, parseAs } from './inflate.ts'
import type { ConfigRecord, MetricRecord } from './records.ts'
import { configRecordFromWire, metricRecordFromWire } from './wire.ts'

/** What is known of an ArrayRecord before its arrays are fetched. */
export interface ArrayNames {
  readonly arrayNames: readonly string[]
}

/** The records of a message by name, in order; of ArrayRecords the names of their arrays. */
export type Outline = ReadonlyMap<string, MetricRecord | ConfigRecord | ArrayNames>

/** An outline, and the ids of the Array objects of each ArrayRecord, by the name of the record and of the array. */
export interface InflatedOutline {
  readonly outline: Outline
  readonly arrayIds: ReadonlyMap<string, ReadonlyMap<string, string>>
}

/**
 * Puts together what a RecordDict holds beside its arrays: needs the object of the RecordDict and those of its records.
 * Throws when they do not fit together.
 */
export function inflateOutline(recordDictId: string, getObject: GetObject): InflatedOutline {
  const outline = new Map<string, MetricRecord | ConfigRecord | ArrayNames>()
  const arrayIds = new Map<string, ReadonlyMap<string, string>>()
  for (const [name, id] of namedChildren(parseAs('RecordDict', recordDictId, getObject))) {
    const object = parseObject(getObject(id))
    switch (object.type) {
      case 'MetricRecord':
        outline.set(name, metricRecordFromWire(fromBinary(MetricRecordSchema, object.body)))
        break
      case 'ConfigRecord':
        outline.set(name, configRecordFromWire(fromBinary(ConfigRecordSchema, object.body)))
        break
      case 'ArrayRecord': {
        const arrays = new Map(namedChildren(object))
        outline.set(name, { arrayNames: [...arrays.keys()] })
        arrayIds.set(name, arrays)
        break
      }
      default:
        throw new TypeError(`Object ${id} is a ${object.type}, not a record.`)
    }
  }
  return { outline, arrayIds }
}
