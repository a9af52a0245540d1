// One entry, from the very bytes that were proved to be in the journal.

import { useState } from "react";
import { ask } from "../../api/client";
import { useLoaded } from "../../lib/load";
import { useNames } from "../../lib/people";
import { Link } from "../../lib/route";
import { count, exact } from "../../lib/time";
import { Button, Notice, ProblemNotice } from "../../ui/kit";
import { Mark } from "../../ui/mark";
import type { Entry, Typed } from "../../proof/entry";
import { verify } from "../../proof/verify";
import { download } from "./journal";

/** Events that are shown at once. */
const SHOWN = 20;

export function EntryScreen({ number }: { number: string }) {
  const { value, problem, again } = useLoaded(`entry ${number}`, async (signal) => {
    const [{ body: proof }, { body: standing }] = await Promise.all([
      ask("get", "/v1/journal/entries/{number}/proof", { path: { number: number as unknown as number }, signal }),
      ask("get", "/v1/journal", { signal }),
    ]);
    return { proof, judged: await verify(Number(number), proof, standing.verifier_key) };
  });
  const n = Number(number);
  return (
    <>
      <header className="bar">
        <Link className="quiet" to="/proof">
          Proof
        </Link>
        <span className="faint" aria-hidden="true">
          /
        </span>
        <h1>Entry {Number.isFinite(n) ? count(n) : number}</h1>
        {value && <Verdict holds={value.judged.holds} />}
        <span className="space" />
        {n > 0 && (
          <Link className="button" to={`/proof/${n - 1}`}>
            Before
          </Link>
        )}
        {value && BigInt(n + 1) < value.judged.size && (
          <Link className="button" to={`/proof/${n + 1}`}>
            After
          </Link>
        )}
      </header>
      <div className="scroll sheet" tabIndex={0} role="region" aria-label={`Entry ${number}`}>
        {problem && (
          <>
            <ProblemNotice problem={problem} />
            <div>
              <Button onClick={again}>Try again</Button>
            </div>
          </>
        )}
        {value && (
          <div className="aside">
            <div className="stack">{value.judged.entry && <Contents entry={value.judged.entry} />}</div>
            <section className="card" aria-labelledby="proof">
              <h2 id="proof">{value.judged.holds === false ? "It does not verify" : "Verified in this browser"}</h2>
              <div className="inside">
                {value.judged.holds === false && (
                  <Notice tone="bad" title="This entry is not what was signed" alert>
                    <p>Somebody changed it, or the controller answers with something else. Keep the proof, and check a copy of the log offline.</p>
                  </Notice>
                )}
                <ol className="steps">
                  {value.judged.steps.map(({ what, holds }) => (
                    <li key={what}>
                      <Mark tone={holds === true ? "good" : holds === false ? "bad" : "note"}>
                        <span className="hidden">{holds === true ? "Holds:" : holds === false ? "Does not hold:" : "Not known:"}</span>
                      </Mark>
                      <span>
                        {what}
                        {holds === null && <span className="quiet"> (this browser cannot check Ed25519)</span>}
                      </span>
                    </li>
                  ))}
                </ol>
                <p className="quiet">Computed from the entry's bytes, not from what the controller says of them. What stands on the left is read from the same bytes.</p>
                <div className="actions">
                  <Button onClick={() => download(`entry-${number}.tlog-proof`, value.proof.tlog_proof)}>Save the proof</Button>
                </div>
                <p className="faint">The file is a C2SP tlog-proof: others check it without this controller.</p>
              </div>
            </section>
          </div>
        )}
      </div>
    </>
  );
}

function Verdict({ holds }: { holds: boolean | null }) {
  if (holds === null) return <Mark tone="note">verified here but for the signature</Mark>;
  return holds ? <Mark tone="good">verified here</Mark> : <Mark tone="bad">does not verify</Mark>;
}

function Contents({ entry }: { entry: Entry }) {
  const nameOf = useNames();
  const [all, setAll] = useState(false);
  const at = new Date(Number(entry.at / 1_000_000n)).toISOString();
  const shown = all ? entry.events : entry.events.slice(0, SHOWN);
  return (
    <>
      <section className="card" aria-labelledby="said">
        <h2 id="said">What it says</h2>
        <dl className="facts inside">
          <dt>When</dt>
          <dd>{exact(at)}</dd>
          <dt>Who</dt>
          <dd>
            {nameOf(entry.who)} {nameOf(entry.who) !== entry.who && <span className="mono faint">{entry.who}</span>}
          </dd>
          <dt>Why</dt>
          <dd>{entry.why}</dd>
          <dt>Commanded</dt>
          <dd className="mono">{entry.command.name}</dd>
          {entry.evidence > 0 && (
            <>
              <dt>Evidence</dt>
              <dd>{entry.evidence} digests</dd>
            </>
          )}
        </dl>
      </section>
      <section className="card" aria-labelledby="events">
        <h2 id="events">
          What came of it <span className="quiet">{count(entry.events.length)}</span>
        </h2>
        <div className="inside">
          <div>
            {shown.map((event, index) => (
              <Payload key={index} event={event} open={entry.events.length <= 3} />
            ))}
          </div>
          {shown.length < entry.events.length && (
            <div>
              <Button onClick={() => setAll(true)}>Show all {count(entry.events.length)}</Button>
            </div>
          )}
        </div>
      </section>
    </>
  );
}

function Payload({ event, open }: { event: Typed; open: boolean }) {
  let text: string;
  let about = "";
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(event.payload));
    text = JSON.stringify(value, null, 2);
    about = aboutWhom(value);
  } catch {
    text = `${event.payload.length} bytes`;
  }
  return (
    <details className="payload" open={open}>
      <summary>
        <span className="mono">{event.name}</span> <span className="cut">{about}</span> <span className="faint">version {String(event.version)}</span>
      </summary>
      <pre className="code" tabIndex={0}>
        {text}
      </pre>
    </details>
  );
}

/** The ids that an event is about, where it says so in one of the usual places. */
function aboutWhom(value: unknown): string {
  const of = (value: unknown): Record<string, unknown> => (typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {});
  const event = of(value);
  const found = [of(event.subject).device, of(event.facts).id, event.ids, event.id, event.site].find((id) => id !== undefined);
  if (Array.isArray(found)) return found.length === 1 ? String(found[0]) : `${count(found.length)} devices`;
  return typeof found === "string" ? found : "";
}
