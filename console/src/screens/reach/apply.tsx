// Sets the folder that was planned: whole, with its tests, claims and budgets as the gate, and only in the place of the one that it was compared with.

import { useState } from "react";
import { ask, problemOf, type Approval, type Problem } from "../../api/client";
import { count } from "../../lib/time";
import { Button, Dialog, Notice, ProblemNotice } from "../../ui/kit";
import { Reason } from "../../ui/reason";
import { lookAt, Second } from "../../ui/second";
import { compare, plan as store, type Plan } from "./plan";

export function Apply({ plan, onClose }: { plan: Plan; onClose: () => void }) {
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [approval, setApproval] = useState<Approval | null>(null);
  const [done, setDone] = useState(false);
  const { comparison: it, files, parent, name } = plan;
  const run = async (work: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  const carry = () =>
    run(async () => {
      const headers: Record<string, string> = approval ? { "ringfence-approval": approval.id } : {};
      const answer = await ask("put", "/v1/policy", { body: { files, parent, origin: `console: ${name}`, why }, headers });
      if (answer.status === 202) return setApproval(answer.body);
      setApproval(null);
      setDone(true);
    });
  const close = () => {
    // What was planned is in force: there is nothing left to compare.
    if (done) store.set(null);
    onClose();
  };
  // Somebody else has set another folder: what was planned was planned of one that is no more.
  const stale = problem?.code === "policy.parent";
  return (
    <Dialog title="Set the folder" onClose={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (why && !done && !stale && !approval) void carry();
        }}
      >
        <h1>Set {name}</h1>
        {it && !done && (
          <p className="quiet">
            It opens {count(it.opened.pairs)} and closes {count(it.closed.pairs)} pairs of device and service, as of when it was compared. It is set whole, or not at all; sites get it within seconds, and zones in shadow stay in shadow.
          </p>
        )}
        {problem && <ProblemNotice problem={problem} />}
        {done ? (
          <Notice tone="good" title="It is in force" alert>
            <p>It is in the journal, with your reason. How far sites are is under Enforcement.</p>
          </Notice>
        ) : approval ? (
          <Second approval={approval} />
        ) : (
          <Reason value={why} onChange={setWhy} autoFocus />
        )}
        <div className="actions">
          <Button onClick={close}>{done || approval ? "Close" : "Cancel"}</Button>
          {approval?.state === "pending" && (
            <Button disabled={busy} onClick={() => void run(async () => setApproval(await lookAt(approval)))}>
              Look again
            </Button>
          )}
          {approval?.state === "approved" && (
            <Button key="carry" look="main" disabled={busy} onClick={() => void carry()}>
              Carry it out
            </Button>
          )}
          {stale && (
            <Button
              key="again"
              look="main"
              onClick={() => {
                void compare(name, files);
                onClose();
              }}
            >
              Compare again
            </Button>
          )}
          {!done && !approval && !stale && (
            <Button key="set" type="submit" look="main grave" disabled={busy || !why}>
              Set this folder
            </Button>
          )}
        </div>
      </form>
    </Dialog>
  );
}
