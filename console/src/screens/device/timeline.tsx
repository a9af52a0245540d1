// What happened to a device, the newest first: what is known of it and who decided, what it is granted, and who it talked to, hour by hour.

import { useEffect, useState } from "react";
import { ask, problemOf, type Problem, type Schemas } from "../../api/client";
import type { Change } from "../../api/live";
import { useLoaded } from "../../lib/load";
import { useNames } from "../../lib/people";
import { deviceAt, go, Link, usePlace } from "../../lib/route";
import { count } from "../../lib/time";
import { Button, ProblemNotice, Time } from "../../ui/kit";
import { Shape, type Tone } from "../../ui/mark";
import { becauseOf, type Decided } from "./decision";
import { byHour, service, volume, type Flow, type Flows, type Hour } from "./flows";
import { told } from "./words";

type Past = Schemas["Past"];

const PAGE = 50;
/** Peers of an hour that are told at once; the others open. */
const PEERS = 3;

const KINDS = ["facts", "decisions", "grants", "flows"] as const;
type Kind = (typeof KINDS)[number];

/** What only a person does. */
const DECIDED = ["edited", "merged", "kept-apart", "returned"];

function kindOf(past: Past): Kind {
  const names = past.events.map((event) => event as Record<string, unknown>);
  return names.some(({ event, timed_out }) => DECIDED.includes(String(event)) || (event === "retired" && timed_out !== true)) ? "decisions" : "facts";
}

type Entry = { kind: Kind; at: string; key: string } & ({ past: Past } | { decided: Decided } | { hour: Hour });

export function Timeline({ id, concerns, decided, flows }: { id: string; concerns: (change: Change) => boolean; decided: Decided | null | undefined; flows: Flows }) {
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
  const only = usePlace().query.get("only") as Kind | null;
  useEffect(() => setMore(null), [id]);
  const next = more ? more.next : (first.value?.next ?? null);
  // The first page may have moved on since further ones were read.
  const seen = new Set<number>();
  const items = [...(first.value?.items ?? []), ...(more?.items ?? [])].filter(({ entry }) => !seen.has(entry) && seen.add(entry));
  const hours = byHour(flows.items, flows.more);

  // What is older than the last of a list that goes on is shown when that list has been read so far.
  const shows = (kind: Kind) => only === null || only === kind;
  const ofHistory = shows("facts") || shows("decisions");
  const ends = [
    { at: items.at(-1)?.at, goesOn: ofHistory && next !== null, read: "history" as const },
    { at: hours.at(-1)?.hour, goesOn: shows("flows") && flows.more, read: "flows" as const },
  ].filter(({ goesOn, at }) => goesOn && at !== undefined);
  const end = ends.reduce<(typeof ends)[number] | null>((newest, one) => (newest === null || (one.at ?? "") > (newest.at ?? "") ? one : newest), null);
  const all = entries(items, decided, hours).filter(({ kind, at }) => shows(kind) && (end?.at === undefined || at >= end.at));

  const further = async () => {
    if (end?.read === "flows") return flows.further();
    if (!next) return;
    setProblem(null);
    try {
      const { body } = await ask("get", "/v1/devices/{id}/history", { path: { id }, query: { limit: PAGE, page: next } });
      setMore({ items: [...(more?.items ?? []), ...(body.items as Past[])], next: body.next ?? null });
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  const fault = first.problem ?? problem ?? flows.problem;
  return (
    <section className="card" aria-labelledby="timeline">
      <header>
        <h2 id="timeline">What happened</h2>
        <span className="space" />
        <div className="choose" role="group" aria-label="What is shown of it">
          {[null, ...KINDS].map((kind) => (
            <button key={kind ?? "all"} type="button" className="button small" aria-pressed={only === kind} onClick={() => go(kind ? `${deviceAt(id)}?only=${kind}` : deviceAt(id), "replace")}>
              {kind ?? "all"}
            </button>
          ))}
        </div>
      </header>
      <ol className="timeline">
        {all.map((one) => ("past" in one ? <Item key={one.key} past={one.past} /> : "hour" in one ? <HourItem key={one.key} hour={one.hour} /> : <DecidedItem key={one.key} decided={one.decided} />))}
      </ol>
      {all.length === 0 && first.value && <p className="inside quiet">{only === "flows" ? "No conversation of it was seen." : "Nothing."}</p>}
      {fault && <ProblemNotice problem={fault} />}
      {end && (
        <div className="foot">
          <Button onClick={() => void further()}>Earlier</Button>
        </div>
      )}
    </section>
  );
}

/** All of it, the newest first. A decision has no time here: it stands where its entry is. */
function entries(items: Past[], decided: Decided | null | undefined, hours: Hour[]): Entry[] {
  const all: Entry[] = items.map((past) => ({ kind: kindOf(past), at: past.at, key: `entry-${past.entry}`, past }));
  for (const hour of hours) all.push({ kind: "flows", at: hour.at, key: hour.hour, hour });
  all.sort((a, b) => b.at.localeCompare(a.at));
  if (decided) {
    const before = all.findIndex((one) => "past" in one && one.past.entry < decided.entry);
    const at = before < 0 ? (all.at(-1)?.at ?? "") : (all[before]?.at ?? "");
    all.splice(before < 0 ? all.length : before, 0, { kind: "grants", at, key: "decided", decided });
  }
  return all;
}

/** Who the device talked to in one hour. */
function HourItem({ hour }: { hour: Hour }) {
  const rest = hour.flows.slice(PEERS);
  const peers = hour.flows.filter(({ role }) => role !== "others").length;
  const all = peers < hour.flows.length ? `more than ${count(peers)} peers` : peers === 1 ? "one peer" : `${count(peers)} peers`;
  return (
    <li>
      <span className="mark none">
        <Shape tone="none" size={11} />
      </span>
      <div>
        <p>
          <strong>
            Talked to {all}: {volume(hour.sent, hour.received)}
          </strong>
        </p>
        <ul className="peers inline">
          {hour.flows.slice(0, PEERS).map((flow, number) => (
            <Peer key={number} flow={flow} />
          ))}
        </ul>
        {rest.length > 0 && (
          <details>
            <summary className="quiet">and {count(rest.length)} further</summary>
            <ul className="peers inline">
              {rest.map((flow, number) => (
                <Peer key={number} flow={flow} />
              ))}
            </ul>
          </details>
        )}
        <p className="faint">
          its site's sensor saw it · <Time at={hour.at} />
        </p>
      </div>
    </li>
  );
}

const ROLES: Record<string, string> = { client: "called", server: "was called by", either: "talked with" };

function Peer({ flow }: { flow: Flow }) {
  if (flow.role === "others") {
    return (
      <li>
        <span className="quiet">all further ones together</span> <span className="faint">{volume(flow.bytes_out, flow.bytes_in)}</span>
      </li>
    );
  }
  const known = flow.peer ? <Link to={deviceAt(flow.peer)}>{flow.peer}</Link> : null;
  // What is called has the name; who called has an address.
  const name = flow.role === "server" ? null : flow.name;
  return (
    <li>
      <span className="quiet">{ROLES[flow.role] ?? flow.role}</span> {name ?? known ?? <span className="mono">{flow.address}</span>}
      {name && (known ? <span className="quiet"> ({known})</span> : <span className="faint mono"> {flow.address}</span>)} <span className="quiet">{service(flow)}</span>{" "}
      <span className="faint">
        {volume(flow.bytes_out, flow.bytes_in)}
        {flow.flows > 1 && `, ${count(flow.flows)} times`}
      </span>
    </li>
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
