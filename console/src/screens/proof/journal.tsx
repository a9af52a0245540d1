// What was changed, by whom and why, the newest first; how the journal stands; and who vouches for it.

import { useState } from "react";
import { ask, problemOf, type Problem, type Schemas } from "../../api/client";
import { useLoaded } from "../../lib/load";
import { useNames } from "../../lib/people";
import { go, Link } from "../../lib/route";
import { count, exact } from "../../lib/time";
import { Icon } from "../../ui/icons";
import { Button, ProblemNotice, Time } from "../../ui/kit";
import { Mark } from "../../ui/mark";

type Summary = Schemas["EntrySummary"];

const PAGE = 100;

/** Every change is an entry. */
const always = () => true;

export function Journal() {
  const first = useLoaded(
    "journal",
    async (signal) => {
      const { body } = await ask("get", "/v1/journal/entries", { query: { limit: PAGE }, signal });
      return { items: body.items as Summary[], next: body.next ?? null };
    },
    always,
  );
  const [more, setMore] = useState<{ items: Summary[]; next: string | null } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const next = more ? more.next : (first.value?.next ?? null);
  const seen = new Set<number>();
  const items = [...(first.value?.items ?? []), ...(more?.items ?? [])].filter(({ number }) => !seen.has(number) && seen.add(number));

  const earlier = async () => {
    if (!next) return;
    setProblem(null);
    try {
      const { body } = await ask("get", "/v1/journal/entries", { query: { limit: PAGE, page: next } });
      setMore({ items: [...(more?.items ?? []), ...(body.items as Summary[])], next: body.next ?? null });
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  return (
    <>
      <header className="bar">
        <h1>Proof</h1>
        <span className="quiet">every change of the estate, in a log that nobody can rewrite unseen</span>
        <span className="space" />
        <Find />
      </header>
      <div className="scroll sheet" tabIndex={0} role="region" aria-label="Journal">
        {first.problem && <ProblemNotice problem={first.problem} />}
        <div className="aside">
          <section className="card" aria-labelledby="entries">
            <h2 id="entries">Entries</h2>
            <Entries items={items} />
            {problem && <ProblemNotice problem={problem} />}
            {next && (
              <div className="foot">
                <Button onClick={() => void earlier()}>Earlier</Button>
              </div>
            )}
          </section>
          <Standing />
        </div>
      </div>
    </>
  );
}

function Find() {
  const [text, setText] = useState("");
  return (
    <form
      className="selector narrow"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        if (/^\d+$/.test(text.trim())) go(`/proof/${text.trim()}`);
      }}
    >
      <Icon name="search" />
      <input data-find inputMode="numeric" aria-label="Number of an entry" placeholder="entry number" autoComplete="off" value={text} onChange={(event) => setText(event.target.value)} />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}

function Entries({ items }: { items: Summary[] }) {
  const nameOf = useNames();
  return (
    <table className="entries journal">
      <thead>
        <tr>
          <th scope="col">Entry</th>
          <th scope="col">When</th>
          <th scope="col">Who</th>
          <th scope="col">Why</th>
          <th scope="col">What came of it</th>
        </tr>
      </thead>
      <tbody>
        {items.map((entry) => (
          <tr key={entry.number}>
            <td>
              <Link to={`/proof/${entry.number}`}>{count(entry.number)}</Link>
            </td>
            <td>
              <Time at={entry.at} />
            </td>
            <td className="cut" title={entry.who}>
              {nameOf(entry.who)}
            </td>
            <td className="why">{entry.why}</td>
            <td className="cut">
              {Object.entries(entry.events).map(([name, of]) => (
                <span className="tag" key={name}>
                  {name}
                  {of > 1 && ` × ${count(of)}`}
                </span>
              ))}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Standing() {
  const { value, problem } = useLoaded("standing", async (signal) => (await ask("get", "/v1/journal", { signal })).body, always);
  if (!value) return problem ? <ProblemNotice problem={problem} /> : <div />;
  const waiting = value.entries - value.signed;
  return (
    <div className="stack">
      <section className="card" aria-labelledby="head">
        <h2 id="head">Signed head</h2>
        <dl className="facts inside">
          <dt>Entries</dt>
          <dd>{count(value.entries)}, durable</dd>
          <dt>Signed</dt>
          <dd>{waiting > 0 ? <Mark tone="note">{`${count(value.signed)}, ${count(waiting)} to come`}</Mark> : <Mark tone="good">all of them</Mark>}</dd>
          <dt>Root</dt>
          <dd className="mono">{value.root ?? "none yet"}</dd>
          <dt>Journal</dt>
          <dd className="mono">{value.origin}</dd>
          <dt>Key</dt>
          <dd className="mono">{value.verifier_key}</dd>
        </dl>
        <div className="inside">
          <div className="buttons">
            <Button onClick={() => void save()}>Save the signed head</Button>
            <Button onClick={() => download("log.vkey", `${value.verifier_key}\n`)}>Save the key</Button>
          </div>
        </div>
      </section>
      <section className="card" aria-labelledby="witnesses">
        <h2 id="witnesses">Witnesses</h2>
        <div className="inside">
          {value.witnesses.length === 0 && (
            <>
              <p>
                <Mark tone="note">Nobody cosigns this journal.</Mark>
              </p>
              <p className="quiet">
                Its own key shows that nothing was rewritten since a head that somebody kept. Witnesses show it to those who kept none: a file <code>witnesses</code> in the controller's folder names them.
              </p>
            </>
          )}
          <ul className="witnesses">
            {value.witnesses.map((witness) => (
              <li key={witness.name}>
                {witness.cosigned_at ? <Mark tone="good">cosigned</Mark> : <Mark tone="note">not yet</Mark>}
                <span className="mono cut">{witness.name}</span>
                <span className="faint">{witness.cosigned_at ? <Time at={witness.cosigned_at} /> : (witness.url ?? "")}</span>
              </li>
            ))}
          </ul>
          {value.missing && (
            <p>
              <Mark tone="bad">{value.missing}</Mark>
            </p>
          )}
          {value.late_since && (
            <p>
              <Mark tone="note">A head waits for its quorum since {exact(value.late_since)}</Mark>
            </p>
          )}
        </div>
      </section>
      <section className="card" aria-labelledby="offline">
        <h2 id="offline">Believe nobody</h2>
        <div className="inside">
          <p className="quiet">
            Each entry's page proves it in this browser, with code that this controller served. Who does not want to believe that either saves the proof and the key, and checks them elsewhere, with any program that knows C2SP's formats; with ours:
          </p>
          <pre className="code" tabIndex={0}>{`ringfence journal verify entry-7.tlog-proof --key log.vkey`}</pre>
        </div>
      </section>
    </div>
  );
}

/** The signed head as a file: whoever keeps it can show later that nothing before it was changed. */
async function save() {
  const { body } = await ask("get", "/v1/journal/checkpoint", {});
  download("checkpoint", body as string);
}

export function download(name: string, text: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}
