// The decision in force about a device: what was decided, on what it rests, and the same made again.

import { useState } from "react";
import { ask, problemOf, type Problem, type Schemas } from "../../api/client";
import type { Change } from "../../api/live";
import { useLoaded, type Loaded } from "../../lib/load";
import { useNames } from "../../lib/people";
import { exact } from "../../lib/time";
import { Button, Notice, ProblemNotice } from "../../ui/kit";
import { Mark } from "../../ui/mark";
import { Link } from "../../lib/route";
import { isNothing } from ".";

type Verdict = { verdict: "granted"; services: number; named: string[]; sha256: string } | { verdict: "refused"; why: string };

/** `estate::leases::Decision`. */
export interface Decision {
  id: string;
  policy: string;
  grounds: { field: string; value: string; source: string; at: string }[];
  verdict: Verdict;
  because: string;
  previous: string | null;
}

export interface Decided {
  decision: Decision;
  entry: number;
}

const BECAUSE: Record<string, string> = { device: "what is known of it changed", policy: "another policy folder", sweep: "the sweep that looks at everything" };

/** What set a decision off, in words. */
export function becauseOf(word: string): string {
  return BECAUSE[word] ?? word;
}

export function useDecision(device: string, concerns: (change: Change) => boolean): Loaded<Decided | null> {
  return useLoaded(
    device,
    async (signal) => {
      const { body } = await ask("get", "/v1/leases", { query: { device, limit: 1 }, signal });
      const lease = (body.items as Schemas["Lease"][])[0];
      if (!lease) return null;
      try {
        const found = await ask("get", "/v1/decisions/{id}", { path: { id: lease.decision }, signal });
        return { decision: found.body as unknown as Decision, entry: lease.entry };
      } catch (error) {
        // Another one took its place in between: that is told, and asked for.
        if (isNothing(error)) return null;
        throw error;
      }
    },
    concerns,
  );
}

export function DecisionCard({ decision, hasZone }: { decision: Loaded<Decided | null>; hasZone: boolean }) {
  const nameOf = useNames();
  const { value, problem } = decision;
  return (
    <section className="card" aria-labelledby="decision">
      <h2 id="decision">Decision in force</h2>
      <div className="inside">
        {problem && <ProblemNotice problem={problem} />}
        {value === null && (
          <p className="quiet">
            Nothing was decided yet, so nothing is granted.{" "}
            {hasZone ? "It is decided as soon as a policy folder knows its zone." : "A device without a zone gets no decision: edit it, and say where it belongs."}
          </p>
        )}
        {value && (
          <>
            {value.decision.verdict.verdict === "granted" ? (
              <>
                <p>
                  <Mark tone="good">
                    <strong>Granted: {value.decision.verdict.services} {value.decision.verdict.services === 1 ? "service" : "services"}, and nothing else</strong>
                  </Mark>
                </p>
                <ul className="services">
                  {value.decision.verdict.named.map((line) => {
                    const [service, by] = line.split(" by ");
                    return (
                      <li key={line}>
                        <span>{service}</span> <span className="quiet">{by}</span>
                      </li>
                    );
                  })}
                  {value.decision.verdict.services > value.decision.verdict.named.length && (
                    <li className="quiet">and {value.decision.verdict.services - value.decision.verdict.named.length} further ones</li>
                  )}
                </ul>
              </>
            ) : (
              <>
                <p>
                  <Mark tone="bad">
                    <strong>Refused: nothing is granted</strong>
                  </Mark>
                </p>
                <p>{value.decision.verdict.why}</p>
              </>
            )}
            <h3 className="quiet">It rests on</h3>
            <ul className="grounds">
              {value.decision.grounds.map((ground) => (
                <li key={ground.field}>
                  <span className="quiet">{ground.field}</span>
                  <span>{ground.value}</span>
                  <span className="faint" title={exact(ground.at)}>
                    {nameOf(ground.source)}
                  </span>
                </li>
              ))}
              {value.decision.grounds.length === 0 && <li className="quiet">nothing that is known of it</li>}
            </ul>
            <dl className="facts">
              <dt>Set off by</dt>
              <dd>{becauseOf(value.decision.because)}</dd>
              <dt>Policy</dt>
              <dd className="mono cut" title={value.decision.policy}>
                {value.decision.policy.slice(0, 16)}…
              </dd>
              <dt>Decision</dt>
              <dd className="mono">{value.decision.id}</dd>
              <dt>Journal</dt>
              <dd>
                <Link to={`/proof/${value.entry}`}>entry {value.entry}</Link>
              </dd>
            </dl>
            <Replay key={value.decision.id} id={value.decision.id} />
          </>
        )}
      </div>
    </section>
  );
}

function Replay({ id }: { id: string }) {
  const [busy, setBusy] = useState(false);
  const [replay, setReplay] = useState<Schemas["Replay"] | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = async () => {
    setBusy(true);
    setProblem(null);
    try {
      setReplay((await ask("get", "/v1/decisions/{id}/replay", { path: { id } })).body);
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      {problem && <ProblemNotice problem={problem} />}
      {replay?.same && (
        <Notice tone="good" title="Made again from what it was made from: the same, byte for byte" alert>
          <p>The controller asked the policy of then about the evidence of then.</p>
        </Notice>
      )}
      {replay && !replay.same && (
        <Notice tone="bad" title="Made again, it is another one" alert>
          <p>This is a defect, or the record was changed. In the journal:</p>
          <pre className="code" tabIndex={0}>{JSON.stringify(replay.recorded, null, 2)}</pre>
          <p>Now:</p>
          <pre className="code" tabIndex={0}>{JSON.stringify(replay.replayed, null, 2)}</pre>
        </Notice>
      )}
      <div>
        <Button disabled={busy} onClick={() => void run()}>
          Make it again
        </Button>
      </div>
    </>
  );
}
