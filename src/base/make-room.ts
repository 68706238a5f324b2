/** Waits until so many bytes more of a response may be in memory: see `CallHead.makeRoom`. */
export type MakeRoom = (bytes: number) => Promise<void> | undefined
