import type { IncomingFile } from '../base/incoming-file.ts'
import type { ObjectStore } from '../objects/object-store.ts'
import type { Task } from './task.ts'

/** How servers take the objects that apps leave as files. */

/** Returns the folder for the large objects of a task, or nothing unless the app can use one and has objects to send. */
export async function folderFor(
  { left }: Pick<ObjectStore, 'left'>,
  { taskId }: Task,
  { leavesFiles, objectsToPush }: { readonly leavesFiles: boolean; readonly objectsToPush: readonly string[] },
): Promise<string> {
  return leavesFiles && objectsToPush.length > 0 ? ((await left.folderOf(taskId)) ?? '') : ''
}

/** Stores an object that an app has left as a file. It may have been stored before, by a call whose response was lost. */
export async function putLeft(
  objects: Pick<ObjectStore, 'left' | 'has'>,
  { taskId }: Task,
  objectId: string,
  put: (content: IncomingFile) => ReturnType<ObjectStore['put']>,
): Promise<{ stored: boolean; fileMissing?: boolean }> {
  await using content = await objects.left.take(taskId, objectId)
  if (content) return { stored: (await put(content)) === 'stored' }
  const stored = await objects.has(objectId)
  return { stored, fileMissing: !stored }
}
