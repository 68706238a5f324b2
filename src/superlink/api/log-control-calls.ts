import type { Logger } from '../../base/log.ts'
import { Control } from '../../gen/flwr/proto/control_pb.ts'
import type { Interceptor } from '../../rpc/interceptor.ts'
import type { Account } from '../access/accounts.ts'

/** Logs each call of the Control API with its account, in Flower's words. */
export function logControlCalls(log: Logger): Interceptor {
  return {
    onCaller(_head, { service, name }, caller) {
      if (service !== Control.typeName) return
      const { name: account } = caller as Account
      log.info(`ControlServicer.${name.charAt(0).toUpperCase()}${name.slice(1)}`, { account })
    },
  }
}
