import type { MessageShape } from '@bufbuild/protobuf'
import type { RunId } from '../../base/ids.ts'
import { readSeconds } from '../../base/read-seconds.ts'
import { Fleet } from '../../gen/flwr/proto/fleet_pb.ts'
import { lengthOf } from '../../rpc/encode-in-turns.ts'
import type { CallResult, Interceptor } from '../../rpc/interceptor.ts'
import { contentOf } from '../../rpc/outgoing.ts'
import type { Traffic } from '../runs/traffic.ts'

type Methods = typeof Fleet.method
type Exchanged<K extends keyof Methods> = CallResult & {
  readonly request: MessageShape<Methods[K]['input']>
  readonly response: MessageShape<Methods[K]['output']>
}
type Counter = (traffic: Traffic, result: CallResult) => void

/**
 * Counts what each run moves over the Fleet API: its messages and objects, as they were sent and received. Objects that a
 * node uploads are counted where they are stored.
 */
export function countFleetTraffic(traffic: Traffic): Interceptor {
  return {
    onResponse(_head, { service, name }, result) {
      if (service === Fleet.typeName) counters[name]?.(traffic, result)
    },
  }
}

const counters: Readonly<Record<string, Counter>> = {
  pullMessages(traffic, result) {
    const { response, requestBytes, bytes } = result as Exchanged<'pullMessages'>
    const runId = response.messagesList?.[0]?.metadata?.runId
    if (runId !== undefined) traffic.add(runId as RunId, { sent: bytes, received: requestBytes })
  },
  pushMessages(traffic, result) {
    const { request, response, requestBytes, bytes } = result as Exchanged<'pushMessages'>
    const { runId, messageId = '' } = request.messagesList[0]?.metadata ?? {}
    // A node must not run up the figures of a run that it does not work for.
    if (!(messageId in response.results)) return
    const clientappSeconds = readSeconds(request.clientappRuntimeList[0]) ?? 0
    if (runId !== undefined) traffic.add(runId as RunId, { sent: bytes, received: requestBytes, clientappSeconds })
  },
  pullObject(traffic, result) {
    const { request, response } = result as Exchanged<'pullObject'>
    // The content of a large object is not in the response: it is sent from its file.
    const sent = lengthOf(contentOf(response)?.content ?? []) + (response.objectContent?.length ?? 0)
    if (sent > 0) traffic.add(request.runId as RunId, { sent })
  },
}
