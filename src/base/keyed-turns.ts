/** Makes work on a key wait for earlier work on the same key. Work on different keys does not wait. */
export class KeyedTurns<Key> {
  readonly #turns = new Map<Key, Promise<unknown>>()

  inTurn<T>(key: Key, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(key) ?? Promise.resolve()).then(work, work)
    this.#turns.set(key, turn)
    const leave = (): void => {
      if (this.#turns.get(key) === turn) this.#turns.delete(key)
    }
    turn.then(leave, leave)
    return turn
  }
}
