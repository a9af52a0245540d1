// What waits for a person: each with its evidence, its age, and what each choice would do. `/waiting/ID` is one of them.

import { useEffect, useRef, type KeyboardEvent } from "react";
import { ask, type Approval, type Schemas } from "../../api/client";
import { useLoaded } from "../../lib/load";
import { useMyself } from "../../lib/may";
import { useNames } from "../../lib/people";
import { Link, usePlace } from "../../lib/route";
import { ago, count } from "../../lib/time";
import { ProblemNotice } from "../../ui/kit";
import { approvals } from "../../ui/second";
import { Carry } from "./carry";
import { KINDS, said } from "./words";
import { Ask } from "./ask";
import "../../styles/waiting.css";

export type Question = Schemas["Question"];

/** So many are read at once; when these are answered, there are others. */
const SHOWN_MAX = 500;
/** All devices are looked at for it (ms). */
const PACE = 5_000;
/** Not everything that poses a question is told of to everybody: it is looked for as well (ms). */
const LOOK = 20_000;

interface Waiting {
  questions: Question[];
  /** How many there are, those included that are not read. */
  total: number;
  approvals: Approval[];
}

async function load(signal: AbortSignal): Promise<Waiting> {
  const [{ body }, asked] = await Promise.all([ask("get", "/v1/questions", { query: { limit: SHOWN_MAX }, signal }), approvals(signal)]);
  const questions = body.items as Question[];
  const order = Object.keys(KINDS);
  const place = (question: Question) => (order.includes(question.kind) ? order.indexOf(question.kind) : order.length);
  // What somebody asked for first; of each kind what waits longest.
  questions.sort((a, b) => place(a) - place(b) || (b.age_s ?? 0) - (a.age_s ?? 0));
  return { questions, total: body.total, approvals: asked };
}

export default function WaitingScreen() {
  const { parts } = usePlace();
  const me = useMyself();
  const waiting = useLoaded("waiting", load, (change) => change.events.some(({ area }) => area !== "lease" && area !== "view"), PACE);
  const { again } = waiting;
  useEffect(() => {
    const timer = setInterval(again, LOOK);
    return () => clearInterval(timer);
  }, [again]);
  const all = waiting.value?.questions ?? [];
  // What is approved and mine waits for me.
  const ready = (waiting.value?.approvals ?? []).filter((one) => one.state === "approved" && one.by === me?.actor);
  const chosen = parts[1] ?? ready[0]?.id ?? all[0]?.id;
  const question = all.find((one) => one.id === chosen);
  const approval = waiting.value?.approvals.find((one) => one.id === chosen);
  return (
    <>
      <header className="bar">
        <h1>Waiting</h1>
        <span className="tally" role="status">
          {waiting.value ? tally(waiting.value, ready.length) : "…"}
        </span>
      </header>
      {waiting.problem && (
        <div className="trouble">
          <ProblemNotice problem={waiting.problem} />
        </div>
      )}
      {waiting.value && all.length + ready.length === 0 && !parts[1] && (
        <div className="empty">
          <h2>Nothing waits for a person</h2>
          <p>Here appears what nobody but a person can decide: changes that take a second one, devices that ask for a certificate, records that may be one device, devices that are back, devices that nobody answers for.</p>
        </div>
      )}
      {waiting.value && (all.length + ready.length > 0 || parts[1]) && (
        <div className="waiting">
          <List all={all} ready={ready} approvals={waiting.value.approvals} chosen={chosen} />
          <div className="scroll sheet" tabIndex={0} role="region" aria-label="What is asked">
            {question ? (
              <Ask key={question.id} question={question} approval={approval} me={me} onDone={again} />
            ) : approval ? (
              <Carry key={approval.id} approval={approval} mine={approval.by === me?.actor} />
            ) : (
              <div className="empty">
                <h2>This waits no more</h2>
                <p>
                  <code>{chosen}</code> was answered, or is no question any more. What was decided is in the journal.
                </p>
              </div>
            )}
          </div>
        </div>
      )}
    </>
  );
}

function tally({ total }: Waiting, ready: number): string {
  const parts = [`${count(total)} ${total === 1 ? "question" : "questions"}`];
  if (ready > 0) parts.push(`${count(ready)} approved and yours to carry out`);
  return parts.join(", ");
}

function List({ all, ready, approvals, chosen }: { all: Question[]; ready: Approval[]; approvals: Approval[]; chosen: string | undefined }) {
  const list = useRef<HTMLElement>(null);
  const nameOf = useNames();
  const keys = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!step || !list.current) return;
    const links = [...list.current.querySelectorAll("a")];
    const at = links.findIndex((link) => link === document.activeElement);
    event.preventDefault();
    links[Math.max(0, Math.min(links.length - 1, at + step))]?.focus();
  };
  const kinds = [...new Set(all.map((one) => one.kind))];
  return (
    <nav ref={list} className="questions scroll" aria-label="What waits" onKeyDown={keys}>
      {ready.length > 0 && (
        <section aria-labelledby="kind-ready">
          <h2 id="kind-ready">Yours to carry out</h2>
          {ready.map((one) => (
            <Link key={one.id} to={`/waiting/${encodeURIComponent(one.id)}`} aria-current={one.id === chosen ? "true" : undefined}>
              <span>{one.why}</span>
              <span className="faint">approved {one.answered_at ? ago(one.answered_at) : ""}</span>
            </Link>
          ))}
        </section>
      )}
      {kinds.map((kind) => (
        <section key={kind} aria-labelledby={`kind-${kind}`}>
          <h2 id={`kind-${kind}`}>{KINDS[kind]?.plural ?? kind}</h2>
          {all
            .filter((one) => one.kind === kind)
            .map((one) => (
              <Link key={one.id} to={`/waiting/${encodeURIComponent(one.id)}`} aria-current={one.id === chosen ? "true" : undefined}>
                <span>{said(one, approvals.find(({ id }) => id === one.id), nameOf)}</span>
                <span className="faint">
                  {[one.site, one.since && waits(one.since)].filter(Boolean).join(" · ")}
                </span>
              </Link>
            ))}
        </section>
      ))}
    </nav>
  );
}

function waits(since: string): string {
  const age = ago(since);
  return age === "now" ? "asked just now" : `waits ${age.replace(" ago", "")}`;
}
