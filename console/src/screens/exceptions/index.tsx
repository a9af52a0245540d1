// Exceptions: paths that are open for a while, who answers for them, and until when. Those of the policy folder stand beside those made here.

import { useState } from "react";
import { ask, type Schemas } from "../../api/client";
import { useLoaded } from "../../lib/load";
import { useMay } from "../../lib/may";
import { useNames } from "../../lib/people";
import { deviceAt, go, Link, usePlace } from "../../lib/route";
import { count, exact } from "../../lib/time";
import { Button, ProblemNotice, Time } from "../../ui/kit";
import { Mark, type Tone } from "../../ui/mark";
import { Add } from "./add";
import { End } from "./end";
import "../../styles/exceptions.css";

export type Exception = Schemas["Exception"];

/** So many are shown; what is beyond is found with the command line. */
const SHOWN_MAX = 1_000;
/** Each is held against the policy in force (ms). */
const PACE = 3_000;

const STATES: Record<string, { tone: Tone; word: string }> = {
  open: { tone: "note", word: "open" },
  expiring: { tone: "note", word: "open, ends soon" },
  "not-in-force": { tone: "bad", word: "not in force" },
  expired: { tone: "none", word: "expired" },
  ended: { tone: "none", word: "ended" },
};

const isOver = ({ state }: Exception) => state === "expired" || state === "ended";

async function load(signal: AbortSignal) {
  const { body } = await ask("get", "/v1/exceptions", { query: { limit: SHOWN_MAX }, signal });
  // What ends first comes first.
  const all = body.items.toSorted((a, b) => a.expires_at.localeCompare(b.expires_at));
  return { lasting: all.filter((one) => !isOver(one)), over: all.filter(isOver).reverse(), more: !!body.next };
}

export default function Exceptions() {
  const { query } = usePlace();
  const may = useMay();
  const { value, problem, again } = useLoaded("exceptions", load, (change) => change.events.some(({ area }) => area === "exception" || area === "policy"), PACE);
  const [ending, setEnding] = useState<string | null>(null);
  const over = query.get("show") === "over";
  const adding = query.get("add");
  const shown = (over ? value?.over : value?.lasting) ?? [];
  const ended = [...(value?.lasting ?? []), ...(value?.over ?? [])].find(({ id }) => id === ending);
  return (
    <>
      <header className="bar">
        <h1>Exceptions</h1>
        <span className="tally" role="status">
          {value ? tally(value.lasting.length, value.more) : "…"}
        </span>
        <nav className="views" aria-label="Which">
          <Link to="/exceptions" aria-current={over ? undefined : "page"}>
            That last
          </Link>
          <Link to="/exceptions?show=over" aria-current={over ? "page" : undefined}>
            Over
          </Link>
        </nav>
        <span className="space" />
        {may("exceptions.edit") && <Button onClick={() => go("/exceptions?add=")}>Open a path for a while…</Button>}
      </header>
      {problem && (
        <div className="trouble">
          <ProblemNotice problem={problem} />
        </div>
      )}
      {value && shown.length === 0 && (
        <div className="empty">
          <h2>{over ? "None is over" : "No path is open by exception"}</h2>
          <p>{over ? "What has ended is shown here for 90 days." : "What must be open for a while, and is not worth a change of the policy folder, stands here: with who answers for it, why, and until when."}</p>
        </div>
      )}
      {shown.length > 0 && (
        <div className="scroll sheet" tabIndex={0} role="region" aria-label="Exceptions">
          <section className="card">
            <Table all={shown} onEnd={may("exceptions.edit") && !over ? setEnding : null} />
          </section>
        </div>
      )}
      {adding !== null && <Add device={adding} onClose={() => go("/exceptions", "replace")} onDone={again} />}
      {ended && <End key={ended.id} exception={ended} onClose={() => setEnding(null)} onDone={again} />}
    </>
  );
}

function tally(lasting: number, more: boolean): string {
  if (lasting === 0) return "none lasts";
  return `${count(lasting)}${more ? "+" : ""} ${lasting === 1 ? "lasts" : "last"}`;
}

function Table({ all, onEnd }: { all: Exception[]; onEnd: ((id: string) => void) | null }) {
  const nameOf = useNames();
  return (
    <table className="entries exceptions">
      <thead>
        <tr>
          {["It is", "Device", "may open", "Answerable", "Why", "Made", "Ends", ...(onEnd ? ["Decide"] : [])].map((name) => (
            <th scope="col" key={name}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {all.map((one) => {
          const { tone, word } = STATES[one.state] ?? { tone: "none", word: one.state };
          return (
            <tr key={one.id}>
              <td>
                <Mark tone={tone}>{word}</Mark>
                {one.why_not && <div className="quiet">{one.why_not}</div>}
              </td>
              <td>
                <Link to={deviceAt(one.from)}>{one.from}</Link> {one.site && <span className="mono quiet">{one.site}</span>}
              </td>
              <td>
                {one.to} <span className="mono quiet">{one.port}</span>
                {one.host && (
                  <div>
                    on <Link to={deviceAt(one.host)}>{one.host}</Link>
                  </div>
                )}
              </td>
              <td>{one.owner}</td>
              <td className="why">{one.reason}</td>
              <td>
                {one.made_by ? nameOf(one.made_by) : "in the policy folder"}
                {one.made_at && (
                  <div className="quiet">
                    <Time at={one.made_at} />
                  </div>
                )}
              </td>
              <td>
                {one.ended_at ? (
                  <>
                    <Time at={one.ended_at} />
                    {one.ended_by && <div className="quiet">by {nameOf(one.ended_by)}</div>}
                  </>
                ) : (
                  <span title={exact(one.expires_at)}>
                    <Time at={one.expires_at} />
                  </span>
                )}
              </td>
              {onEnd && (
                <td>
                  <Button look="small" aria-label={`End: ${one.from} to ${one.to}…`} onClick={() => onEnd(one.id)}>
                    End…
                  </Button>
                </td>
              )}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
