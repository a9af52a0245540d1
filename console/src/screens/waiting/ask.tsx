// One question: what is known of it, what each choice would do, and the choice with its reason. What somebody may not choose is not
// offered; they are told who may.

import { useState } from "react";
import { problemOf, send, type Approval, type Problem } from "../../api/client";
import { useMay, type Myself } from "../../lib/may";
import { useNames } from "../../lib/people";
import { deviceAt, Link } from "../../lib/route";
import { exact } from "../../lib/time";
import { Button, Notice, ProblemNotice, Time } from "../../ui/kit";
import { Reason } from "../../ui/reason";
import { inventoryAt } from "../inventory/query";
import { Compare } from "./compare";
import { Asked } from "./asked";
import type { Question } from ".";
import { choiceOf, KINDS, plain, said } from "./words";

/** What is known of these is shown as what it is, rather than as lines. */
const SHOWN_OTHERWISE = ["same-device", "no-owner"];

interface Props {
  question: Question;
  approval: Approval | undefined;
  me: Myself | null;
  onDone: () => void;
}

export function Ask({ question, approval, me, onDone }: Props) {
  const nameOf = useNames();
  const answerable = question.answerable.map((one) => (one.startsWith("role/") ? `anybody with the role ${one.slice(5)}` : `team ${one}`));
  return (
    <article className="stack inquiry" aria-labelledby="asked">
      <section className="card">
        <header>
          <h2 id="asked">{KINDS[question.kind]?.one ?? question.kind}</h2>
        </header>
        <div className="inside">
          <p className="lead">{said(question, approval, nameOf)}</p>
          <dl className="facts">
            <dt>Waits</dt>
            <dd>{question.since ? <>since {exact(question.since)} (<Time at={question.since} />)</> : "nobody knows since when"}</dd>
            {question.site && (
              <>
                <dt>Site</dt>
                <dd>{question.site}</dd>
              </>
            )}
            <dt>Decides</dt>
            <dd>{answerable.length > 0 ? answerable.join(", ") : "no team is answerable; whoever may decide about these devices"}</dd>
            {question.kind !== "same-device" && question.devices.length > 0 && (
              <>
                <dt>{question.devices.length === 1 ? "Device" : "Devices"}</dt>
                <dd>
                  {question.devices.map((id) => (
                    <div key={id}>
                      <Link to={deviceAt(id)}>{id}</Link>
                    </div>
                  ))}
                </dd>
              </>
            )}
          </dl>
        </div>
      </section>
      {approval && <Asked approval={approval} />}
      {question.kind === "same-device" && <Compare ids={question.devices} />}
      {!approval && !SHOWN_OTHERWISE.includes(question.kind) && (
        <section className="card" aria-labelledby="evidence">
          <h2 id="evidence">What is known</h2>
          <ul className="inside evidence">
            {question.evidence.map((line) => (
              <li key={line}>{plain(line, nameOf)}</li>
            ))}
          </ul>
        </section>
      )}
      <Decide question={question} approval={approval} me={me} onDone={onDone} />
    </article>
  );
}

/** Why somebody may not choose; `null`: they may. */
function barred(question: Question, approval: Approval | undefined, me: Myself, may: ReturnType<typeof useMay>): string | null {
  if (question.kind === "certificate") return may("identities.edit") ? null : "It takes the role security-admin, at the site of the device.";
  if (question.kind !== "approval") return may("devices.edit") ? null : "It takes the role operator, at the site of these devices.";
  if (!approval) return "It is answered already, or about sites that are not yours.";
  if (!me.actor.startsWith("person/")) return "A second person is a person who is logged in.";
  if (!may("approvals.decide") || !me.covers.includes(approval.needs)) return `It takes somebody with the role ${approval.needs}.`;
  const [theirs, mine] = [approval.sites, me.sites];
  if (mine && (!theirs || theirs.some((site) => !mine.includes(site)))) return "It is about sites that are not yours.";
  return null;
}

function Decide({ question, approval, me, onDone }: Props) {
  const may = useMay();
  const nameOf = useNames();
  const [choice, setChoice] = useState<string | null>(null);
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [done, setDone] = useState<string | null>(null);
  if (!me) return null;

  const own = approval !== undefined && me.actor === `person/${approval.operator}`;
  // Who asked takes it back, and nothing else.
  const offered = question.choices.filter((one) => one.request && (!own || one.choice === "reject"));
  const no = own ? null : barred(question, approval, me, may);
  const label = (word: string) => (own && word === "reject" ? "Take it back" : choiceOf(question.kind, word, question.devices));
  const chosen = offered.find((one) => one.choice === choice);

  const carry = async () => {
    const request = chosen?.request;
    if (!request?.path.startsWith("/v1/")) return;
    setBusy(true);
    setProblem(null);
    try {
      await send(request.method, request.path, { body: { ...request.body, why } });
      setDone(label(chosen?.choice ?? ""));
      onDone();
    } catch (error) {
      setProblem(problemOf(error));
      onDone();
    } finally {
      setBusy(false);
    }
  };

  if (done) {
    return (
      <Notice tone="good" title={`Done: ${done}`} alert>
        <p>It is in the journal, with your reason.</p>
      </Notice>
    );
  }
  return (
    <section className="card" aria-labelledby="choices">
      <h2 id="choices">{own ? "You asked for this" : "What can be decided"}</h2>
      <form
        className="inside"
        onSubmit={(event) => {
          event.preventDefault();
          if (chosen && why) void carry();
        }}
      >
        {own && <p className="quiet">Somebody else approves it. You can take it back.</p>}
        {question.choices
          .filter((one) => !one.request)
          .map((one) => (
            <Elsewhere key={one.choice} question={question} does={one.does} />
          ))}
        {no && offered.length > 0 && (
          <>
            <Notice tone="none" title="You may look at this, and somebody else decides it">
              <p>{no}</p>
            </Notice>
            <ul className="evidence">
              {offered.map((one) => (
                <li key={one.choice}>
                  <strong>{label(one.choice)}</strong>: {plain(one.does, nameOf)}
                </li>
              ))}
            </ul>
          </>
        )}
        {!no && offered.length > 0 && (
          <>
            <fieldset className="decide">
              <legend className="hidden">Choice</legend>
              {offered.map((one) => (
                <label key={one.choice}>
                  <input type="radio" name="choice" checked={choice === one.choice} onChange={() => setChoice(one.choice)} />
                  <span>
                    <strong>{label(one.choice)}</strong>
                    <span className="quiet">{plain(one.does, nameOf)}</span>
                  </span>
                </label>
              ))}
            </fieldset>
            <Reason value={why} onChange={setWhy} />
            {problem && <ProblemNotice problem={problem} />}
            <div className="buttons">
              <Button type="submit" look="main" disabled={busy || !chosen || !why}>
                {chosen ? label(chosen.choice) : "Choose first"}
              </Button>
            </div>
          </>
        )}
      </form>
    </section>
  );
}

/** What takes more than a word is done where it is done. */
function Elsewhere({ question, does }: { question: Question; does: string }) {
  if (question.kind === "no-owner" && question.site) {
    return (
      <>
        <p>Give them an owner: a team that is answerable. Until then what is sensitive is granted to none of them.</p>
        <div className="buttons">
          <Link className="button" to={inventoryAt({ l: `site=${question.site},!owner,state!=retired` })}>
            Look at these devices
          </Link>
        </div>
      </>
    );
  }
  return (
    <>
      <p>On a machine with the command line:</p>
      <pre className="code" tabIndex={0}>
        {does}
      </pre>
    </>
  );
}
