// How much waits for a person, beside the name of the screen that shows it.

import { useEffect } from "react";
import { ask } from "../api/client";
import { useLoaded } from "../lib/load";
import { count } from "../lib/time";

/** All devices are looked at for it (ms). */
const PACE = 10_000;
/** Not everything that poses a question is told of to everybody: it is looked for as well (ms). */
const LOOK = 30_000;
/** A larger number tells nobody more. */
const SHOWN_MAX = 999;

export function Badge() {
  const { value, again } = useLoaded(
    "how much waits",
    async (signal) => (await ask("get", "/v1/questions", { query: { limit: 1 }, signal })).body.total,
    (change) => change.events.some(({ area }) => area !== "lease" && area !== "view"),
    PACE,
  );
  useEffect(() => {
    const timer = setInterval(again, LOOK);
    return () => clearInterval(timer);
  }, [again]);
  if (!value) return null;
  return (
    <span className="badge" title={`${count(value)} ${value === 1 ? "question waits" : "questions wait"} for a person`}>
      {value > SHOWN_MAX ? `${count(SHOWN_MAX)}+` : count(value)}
      <span className="hidden"> {value === 1 ? "waits" : "wait"}</span>
    </span>
  );
}
