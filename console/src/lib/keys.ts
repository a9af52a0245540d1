// Keys that work everywhere but where somebody types: `/`, `?`, `g i`. Each is in the help, which is made from the same list.

import { useEffect, useRef } from "react";

export interface Key {
  /** `g i`: one after the other. */
  keys: string;
  what: string;
  run: () => void;
}

const PAUSE = 1_200;

function typing(target: EventTarget | null): boolean {
  // A box to tick takes Space and no letter.
  if (target instanceof HTMLInputElement && (target.type === "checkbox" || target.type === "radio")) return false;
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

export function useKeys(keys: Key[]) {
  const all = useRef(keys);
  all.current = keys;
  useEffect(() => {
    let pressed = "";
    let last = 0;
    const hear = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.isComposing) return;
      if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
        const found = all.current.find((key) => key.keys === "Ctrl K");
        if (found) {
          event.preventDefault();
          found.run();
        }
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
      if (event.key.length !== 1) return;
      pressed = event.timeStamp - last < PAUSE && pressed ? `${pressed} ${event.key}` : event.key;
      last = event.timeStamp;
      const found = all.current.find((key) => key.keys === pressed);
      if (found) {
        event.preventDefault();
        pressed = "";
        found.run();
      } else if (!all.current.some((key) => key.keys.startsWith(`${pressed} `))) {
        pressed = "";
      }
    };
    addEventListener("keydown", hear);
    return () => removeEventListener("keydown", hear);
  }, []);
}
