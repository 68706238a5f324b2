/** Takes a large content piece by piece while it arrives. */
export interface ContentSink {
  /** Takes a copy of the bytes. The next ones may come when the returned promise has resolved. */
  write(bytes: Uint8Array): Promise<void> | undefined
  /** The content is complete. */
  finish(): Promise<void> | undefined
}
