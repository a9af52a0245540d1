// Whoever is away is signed out, although the screen still asks for what changes: asking alone would keep the session for ever.

import { ask } from "../api/client";
import { session } from "../api/session";

/** As long as the controller gives a session that is not used (ms). */
const AWAY = 30 * 60_000;

/** Watches for signs of a person until the returned function is called. */
export function watch(): () => void {
  let last = Date.now();
  const alive = () => {
    last = Date.now();
  };
  const signs = ["pointerdown", "pointermove", "keydown", "wheel"] as const;
  for (const sign of signs) addEventListener(sign, alive, { passive: true, capture: true });
  const timer = setInterval(() => {
    const { token } = session.get();
    if (!token || Date.now() - last < AWAY) return;
    void ask("post", "/v1/logout", {}).catch(() => undefined);
    session.ended(token);
  }, 10_000);
  return () => {
    clearInterval(timer);
    for (const sign of signs) removeEventListener(sign, alive, { capture: true });
  };
}
