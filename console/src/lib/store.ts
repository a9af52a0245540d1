// A value that screens watch.

import { useSyncExternalStore } from "react";

export class Store<T> {
  private value: T;
  private watchers = new Set<() => void>();

  constructor(value: T) {
    this.value = value;
  }

  get = (): T => this.value;

  set(value: T) {
    this.value = value;
    for (const watcher of [...this.watchers]) watcher();
  }

  subscribe = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => {
      this.watchers.delete(watcher);
    };
  };
}

/** The value, now and whenever it changes. */
export function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}
