import { DomainError } from '../base/errors.ts'
import type { ConfirmMessageReceivedRequest, Message } from '../gen/flwr/proto/message_pb.ts'
import { refusalSentence } from '../identity/refusal-sentence.ts'
import type { OwnerRules } from '../rpc/service.ts'
import type { RuntimeBackend } from './runtime-service.ts'
import type { Task } from './task.ts'

/** What the owner rules of the Runtime, ServerAppIo and ClientAppIo services find. `false`: it is not the task's. */
export interface AppOwned {
  readonly 'any-task': undefined
  readonly messages: undefined
  readonly 'sent-object': boolean
  readonly object: boolean
  readonly 'received-message': undefined
}

/** The token of a task is good for the messages and objects of its run, as the server of the task knows them. */
export function appOwners(backend: RuntimeBackend): OwnerRules<AppOwned> {
  return {
    'any-task': async () => undefined,
    async messages(task: Task, { messagesList }: { readonly messagesList: readonly Message[] }) {
      if (messagesList.some(({ metadata }) => metadata && metadata.runId !== task.runId))
        throw new DomainError('not-of-this-task', 'Invalid message: another run.')
      return undefined
    },
    'sent-object': (task: Task, { objectId }: { readonly objectId: string }) => backend.maySend(task, objectId),
    object: (task: Task, { objectId }: { readonly objectId: string }) => backend.mayRead(task, objectId),
    async 'received-message'(task: Task, request: ConfirmMessageReceivedRequest) {
      if (request.runId !== task.runId) throw new DomainError('not-of-this-task', 'The message is of another run.')
      await backend.ensureReceiver(task, [request.messageObjectId, ...request.moreMessageObjectIds])
      return undefined
    },
  }
}

export function messageOfAnother(messageId: string): DomainError {
  return new DomainError('message-of-another', refusalSentence('message-of-another', messageId.slice(0, 64)))
}
