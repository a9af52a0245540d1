// What happened to a device, the newest first: who, when, why, and what came of it.

import { useEffect, useState } from "react";
import { ask, problemOf, type Problem, type Schemas } from "../../api/client";
import type { Change } from "../../api/live";
import { useLoaded } from "../../lib/load";
import { useNames } from "../../lib/people";
import { Link } from "../../lib/route";
import { Button, ProblemNotice, Time } from "../../ui/kit";
import { Shape, type Tone } from "../../ui/mark";
import { becauseOf, type Decided } from "./decision";
import { told } from "./words";

type Past = Schemas["Past"];

const PAGE = 50;

export function Timeline({ id, concerns, decided }: { id: string; concerns: (change: Change) => boolean; decided: Decided | null | undefined }) {
  const first = useLoaded(
    id,
    async (signal) => {
      const { body } = await ask("get", "/v1/devices/{id}/history", { path: { id }, query: { limit: PAGE }, signal });
      return { items: body.items as Past[], next: body.next ?? null };
    },
    concerns,
  );
  const [more, setMore] = useState<{ items: Past[]; next: string | null } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => setMore(null), [id]);
  const next = more ? more.next : (first.value?.next ?? null);
  // The first page may have moved on since further ones were read.
  const seen = new Set<number>();
  const items = [...(first.value?.items ?? []), ...(more?.items ?? [])].filter(({ entry }) => !seen.has(entry) && seen.add(entry));

  const further = async () => {
    if (!next) return;
    setProblem(null);
    try {
      const { body } = await ask("get", "/v1/devices/{id}/history", { path: { id }, query: { limit: PAGE, page: next } });
      setMore({ items: [...(more?.items ?? []), ...(body.items as Past[])], next: body.next ?? null });
    } catch (error) {
      setProblem(problemOf(error));
    }
  };

  return (
    <section className="card" aria-labelledby="timeline">
      <h2 id="timeline">What happened</h2>
      <ol className="timeline">
        {decided && !items.some(({ entry }) => entry > decided.entry) && <DecidedItem decided={decided} />}
        {items.map((past, index) => (
          <Fragmented key={past.entry} decided={decided && index > 0 && past.entry < decided.entry && (items[index - 1]?.entry ?? 0) > decided.entry ? decided : null}>
            <Item past={past} />
          </Fragmented>
        ))}
      </ol>
      {(first.problem ?? problem) && <ProblemNotice problem={(first.problem ?? problem) as Problem} />}
      {next && (
        <div className="foot">
          <Button onClick={() => void further()}>Earlier</Button>
        </div>
      )}
    </section>
  );
}

function Fragmented({ decided, children }: { decided: Decided | null; children: React.ReactNode }) {
  return (
    <>
      {decided && <DecidedItem decided={decided} />}
      {children}
    </>
  );
}

/** The decision in force, where it stands among the changes. */
function DecidedItem({ decided: { decision, entry } }: { decided: Decided }) {
  const granted = decision.verdict.verdict === "granted";
  return (
    <li>
      <span className={`mark ${granted ? "good" : "bad"}`}>
        <Shape tone={granted ? "good" : "bad"} size={11} />
      </span>
      <div>
        <p>
          <strong>{decision.verdict.verdict === "granted" ? `Granted ${decision.verdict.services} services` : "Granted nothing"}</strong> <span className="quiet">{becauseOf(decision.because)}</span>
        </p>
        <p className="faint">
          the policy decided · <Link to={`/proof/${entry}`}>entry {entry}</Link>
        </p>
      </div>
    </li>
  );
}

function Item({ past }: { past: Past }) {
  const nameOf = useNames();
  const events = past.events.map((event) => told(event as Record<string, unknown>));
  return (
    <li>
      <span className={`mark ${toneOfPast(past)}`}>
        <Shape tone={toneOfPast(past)} size={11} />
      </span>
      <div>
        {events.map((event, index) => (
          <div key={index}>
            <p>
              <strong>{event.what}</strong>
            </p>
            {event.said.length > 0 && (
              <ul className="said">
                {event.said.map(({ field, value, sure }) => (
                  <li key={field}>
                    <span className="quiet">{field}</span> {value === null ? <em className="quiet">taken back</em> : value}
                    {sure !== undefined && <span className="faint"> {sure} %</span>}
                  </li>
                ))}
              </ul>
            )}
          </div>
        ))}
        {past.why && <p className="quiet">“{past.why}”</p>}
        <p className="faint">
          {nameOf(past.who)} · <Time at={past.at} /> · <Link to={`/proof/${past.entry}`}>entry {past.entry}</Link>
        </p>
      </div>
    </li>
  );
}

function toneOfPast(past: Past): Tone {
  const words = past.events.map((event) => JSON.stringify(event));
  if (words.some((word) => word.includes('"posture":"quarantined"'))) return "bad";
  const kinds = past.events.map((event) => String((event as Record<string, unknown>).event));
  if (kinds.some((kind) => ["confused", "resurfaced", "stale"].includes(kind))) return "note";
  return "none";
}
