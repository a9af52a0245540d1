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

/** `key`: another one is another thing. `concerns`: whether a change is about it. */
export function useLoaded<T>(key: string, load: (signal: AbortSignal) => Promise<T>, concerns?: (change: Change) => boolean): Loaded<T> {
  const [held, setHeld] = useState<{ key: string; value?: T; problem: Problem | null }>({ key, problem: null });
  const [turn, setTurn] = useState(0);
  const how = useRef({ load, concerns });
  how.current = { load, concerns };
  const again = useCallback(() => setTurn((n) => n + 1), []);

  useEffect(() => {
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
      clearTimeout(timer);
      timer = setTimeout(again, 150);
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
  }, [again]);

  const current = held.key === key;
  return { value: current ? held.value : undefined, problem: current ? held.problem : null, again };
}
