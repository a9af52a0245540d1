// Asks for something when a screen is shown, and again when it may have changed. What was there stays until there is something newer.

import { useCallback, useEffect, useRef, useState } from "react";
import { problemOf, type Problem } from "../api/client";
import { live, type Change } from "../api/live";
import { contact } from "../api/contact";

export interface Loaded<T> {
  value: T | undefined;
  problem: Problem | null;
  again: () => void;
}

/** After a change that concerns it, something is asked for once in so many milliseconds at most. */
const PACE = 1_000;
/** So that what changes together is asked for once (ms). */
const TOGETHER = 150;

/** `key`: another one is another thing. `concerns`: whether a change is about it. */
export function useLoaded<T>(key: string, load: (signal: AbortSignal) => Promise<T>, concerns?: (change: Change) => boolean, pace = PACE): Loaded<T> {
  const [held, setHeld] = useState<{ key: string; value?: T; problem: Problem | null }>({ key, problem: null });
  const [turn, setTurn] = useState(0);
  const how = useRef({ load, concerns });
  how.current = { load, concerns };
  const again = useCallback(() => setTurn((n) => n + 1), []);
  const asked = useRef(0);

  useEffect(() => {
    asked.current = Date.now();
    const abort = new AbortController();
    how.current
      .load(abort.signal)
      .then((value) => setHeld({ key, value, problem: null }))
      .catch((error: unknown) => {
        if (abort.signal.aborted) return;
        setHeld((before) => ({ ...(before.key === key ? before : {}), key, problem: problemOf(error) }));
      });
    return () => abort.abort();
  }, [key, turn]);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const soon = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        again();
      }, Math.max(TOGETHER, asked.current + pace - Date.now()));
    };
    const silent = live.hear((change) => {
      if (change === null || how.current.concerns?.(change)) soon();
    });
    // What failed because nobody answered is asked again when somebody does.
    let lost = contact.get().lost;
    const back = contact.subscribe(() => {
      const now = contact.get().lost;
      if (lost && !now) soon();
      lost = now;
    });
    return () => {
      clearTimeout(timer);
      silent();
      back();
    };
  }, [again, pace]);

  const current = held.key === key;
  return { value: current ? held.value : undefined, problem: current ? held.problem : null, again };
}
