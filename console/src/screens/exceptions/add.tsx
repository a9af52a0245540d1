// Opens a path for a while. First it is told what it would open, and nothing is made; what is then made is made under the policy that was
// looked at, and of what was looked at.

import { useState } from "react";
import { ask, problemOf, type Approval, type Problem, type Schemas, type Team } from "../../api/client";
import { useLoaded } from "../../lib/load";
import { count, exact } from "../../lib/time";
import { Button, Dialog, Field, Notice, ProblemNotice } from "../../ui/kit";
import { Reason } from "../../ui/reason";
import { lookAt, Second } from "../../ui/second";
import type { Comparison } from "../reach/plan";
import { Groups } from "../reach/planned";

const HOUR = 3_600;
const DAY = 24 * HOUR;
const TERMS: [number, string][] = [
  [HOUR, "one hour"],
  [8 * HOUR, "eight hours"],
  [DAY, "a day"],
  [7 * DAY, "a week"],
  [30 * DAY, "30 days"],
  [90 * DAY, "90 days, the most there is"],
];
/** Groups of paths that are shown; one exception opens few. */
const GROUPS_MAX = 50;

interface Looked {
  opened: Schemas["Opened"];
  plan: Comparison;
  /** Version of the policy that it was looked at under. */
  version: string | null;
}

export function Add({ device, onClose, onDone }: { device: string; onClose: () => void; onDone: () => void }) {
  const [from, setFrom] = useState(device);
  const [to, setTo] = useState("");
  const [owner, setOwner] = useState("");
  const [seconds, setSeconds] = useState(8 * HOUR);
  const [why, setWhy] = useState("");
  const [looked, setLooked] = useState<Looked | null>(null);
  const [approval, setApproval] = useState<Approval | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const choices = useLoaded("what an exception is made of", async (signal) => {
    const [matrix, teams] = await Promise.all([ask("get", "/v1/reach/matrix", { signal }), ask("get", "/v1/teams", { query: { limit: 1000 }, signal })]);
    return { services: matrix.body.services, teams: teams.body.items as Team[] };
  });
  // What was looked at was something else.
  const put = <T,>(set: (value: T) => void) => (value: T) => {
    set(value);
    setLooked(null);
    setProblem(null);
  };
  const run = async (work: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem(problemOf(error));
      setLooked(null);
    } finally {
      setBusy(false);
    }
  };
  const body = { from: from.trim(), to, owner, for_s: seconds, why };
  const look = () =>
    run(async () => {
      const version = (await ask("get", "/v1/policy", {})).etag;
      const answer = await ask("post", "/v1/exceptions", { body: { ...body, dry_run: true } });
      if (answer.status === 200) setLooked({ opened: answer.body, plan: answer.body.plan as unknown as Comparison, version });
    });
  const carry = () =>
    run(async () => {
      const headers: Record<string, string> = { ...(looked?.version ? { "if-match": looked.version } : {}), ...(approval ? { "ringfence-approval": approval.id } : {}) };
      const answer = await ask("post", "/v1/exceptions", { body, headers });
      if (answer.status === 202) return setApproval(answer.body);
      onDone();
      onClose();
    });
  const ready = body.from && to && owner && why;
  const may = looked !== null && looked.plan.refused.length === 0;
  return (
    <Dialog title="Open a path for a while" onClose={onClose} className="broad">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) void (may ? carry() : look());
        }}
      >
        <h1>Open a path for a while</h1>
        <p className="quiet">It ends by itself, at its site too. It opens nothing that a policy forbids. What must be open for long is a change of the policy folder.</p>
        {choices.problem && <ProblemNotice problem={choices.problem} />}
        {approval ? (
          <Second approval={approval} />
        ) : (
          <>
            <div className="pair">
              <Field label="Device that may" hint="Its id.">
                {(id, described) => <input id={id} className="input mono" aria-describedby={described} autoFocus autoComplete="off" spellCheck={false} value={from} onChange={(event) => put(setFrom)(event.target.value)} />}
              </Field>
              <Choice label="Service that it may open" none="a service of the policy in force" value={to} onChange={put(setTo)} options={choices.value?.services.map((one) => [one.id, one.name || one.id]) ?? []} />
              <Choice label="Answerable" none="a team" value={owner} onChange={put(setOwner)} options={choices.value?.teams.map((team) => [team.id, `${team.name} (${team.id})`]) ?? []} />
              <Choice label="Ends after" value={String(seconds)} onChange={(value) => put(setSeconds)(Number(value))} options={TERMS.map(([s, word]) => [String(s), word])} />
            </div>
            <Reason value={why} onChange={put(setWhy)} />
          </>
        )}
        {problem && <ProblemNotice problem={problem} />}
        {looked && !approval && <Opens it={looked} from={body.from} />}
        <div className="actions">
          <Button onClick={onClose}>{approval ? "Close" : "Cancel"}</Button>
          {approval?.state === "pending" && (
            <Button disabled={busy} onClick={() => void run(async () => setApproval(await lookAt(approval)))}>
              Look again
            </Button>
          )}
          {approval ? (
            approval.state === "approved" && (
              <Button key="carry" look="main" disabled={busy} onClick={() => void carry()}>
                Carry it out
              </Button>
            )
          ) : looked ? (
            // Another button, not the same one with another word: the key that is still down is not for it.
            <Button key="open" look="main" type="submit" disabled={busy || !may}>
              Open it until {exact(looked.opened.expires_at)}
            </Button>
          ) : (
            <Button key="look" look="main" type="submit" disabled={busy || !ready}>
              Look at what it opens
            </Button>
          )}
        </div>
      </form>
    </Dialog>
  );
}

function Choice({ label, none, value, onChange, options }: { label: string; none?: string; value: string; onChange: (value: string) => void; options: [string, string][] }) {
  return (
    <Field label={label}>
      {(id) => (
        <select id={id} className="input" value={value} onChange={(event) => onChange(event.target.value)}>
          {none && <option value="">{none}</option>}
          {options.map(([one, text]) => (
            <option key={one} value={one}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** What it would open; nothing is made yet. */
function Opens({ it: { opened, plan }, from }: { it: Looked; from: string }) {
  const groups = plan.opened.groups.slice(0, GROUPS_MAX).map((group) => ({ opens: true, group }));
  return (
    <section className="opens-it" aria-label="What it opens" role="status">
      {plan.refused.length > 0 && (
        <Notice tone="bad" title="It may not be made" alert>
          <ul className="evidence">
            {plan.refused.map((fault) => (
              <li key={`${fault.file}:${fault.line} ${fault.what}`}>
                {fault.line > 0 && (
                  <span className="mono">
                    {fault.file}:{fault.line}:{" "}
                  </span>
                )}
                {fault.what}: {fault.why} {fault.help}
              </li>
            ))}
          </ul>
        </Notice>
      )}
      {opened.against.length > 0 && (
        <Notice tone="note" title="It goes against tests of the policy folder while it lasts">
          <ul className="evidence">
            {opened.against.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </Notice>
      )}
      {opened.second_person && <Notice tone="note" title="It takes a second person, for how far it reaches" />}
      {plan.refused.length === 0 && (
        <p>
          {groups.length === 0 ? "It opens nothing that is not open already. " : ""}
          Somebody who takes <span className="mono">{from}</span> over reaches <strong>{count(opened.devices)}</strong> {opened.devices === 1 ? "device" : "devices"} besides. Nothing is made yet.
        </p>
      )}
      {groups.length > 0 && <Groups groups={groups} />}
    </section>
  );
}
