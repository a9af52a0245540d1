// Decides about many devices at once. First it is told how many they are; then it is done for all of them, or for none. Very many
// take a second person: what was asked then waits here, and is carried out when somebody else has approved it.

import { useEffect, useState } from "react";
import { ask, problemOf, type Approval, type Problem, type Schemas, type Team } from "../../api/client";
import { count } from "../../lib/time";
import { Button, Dialog, Field, Notice, ProblemNotice } from "../../ui/kit";
import { Reason } from "../../ui/reason";
import { lookAt, Second } from "../../ui/second";
import type { Query } from "./query";

/** Devices by id, or all that something is asked for. */
export type Which = { ids: string[] } | { query: Query };

interface Props {
  which: Which;
  onClose: () => void;
  onDone: () => void;
}

/** A selector has to say so when it means everything. */
const EVERYTHING = "state=active";

export function Edit({ which, onClose, onDone }: Props) {
  const [teams, setTeams] = useState<Team[] | null>(null);
  const [owner, setOwner] = useState("");
  const [why, setWhy] = useState("");
  const [selected, setSelected] = useState<number | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [approval, setApproval] = useState<Approval | null>(null);
  const [done, setDone] = useState<Schemas["Bulk"] | null>(null);

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
  useEffect(() => {
    void run(async () => {
      const { body } = await ask("get", "/v1/teams", { query: { limit: 1000 } });
      setTeams(body.items as Team[]);
      const tried = await ask("post", "/v1/devices/edit", { body: { ...aboutOf(which), set: {}, why: "", dry_run: true } });
      if (tried.status === 200) setSelected(tried.body.selected);
    });
    // Once, for what was chosen when it opened.
    // eslint-disable-next-line
  }, []);

  const carry = () =>
    run(async () => {
      // An empty choice takes back what people decided.
      const body = { ...aboutOf(which), set: { owner: owner || null }, why };
      const headers: Record<string, string> = approval ? { "ringfence-approval": approval.id } : {};
      const answer = await ask("post", "/v1/devices/edit", { body, headers });
      if (answer.status === 202) {
        setApproval(answer.body);
      } else {
        setDone(answer.body);
        setApproval(null);
        onDone();
      }
    });
  const look = () =>
    run(async () => {
      if (approval) setApproval(await lookAt(approval));
    });

  const devices = `${selected === null ? "…" : count(selected)} ${selected === 1 ? "device" : "devices"}`;
  return (
    <Dialog title="Set owner" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void carry();
        }}
      >
        <h1>Set the owner of {devices}</h1>
        <p className="quiet">
          <Meant which={which} /> The owner is the team that is answerable. All are changed, or none.
        </p>
        {problem && <ProblemNotice problem={problem} />}
        {done ? (
          <Notice tone="good" title={`Done: ${count(done.changed)} of ${count(done.selected)} changed`} alert>
            <p>{done.changed < done.selected ? "The others were so already." : "It is in the journal, with your reason."}</p>
          </Notice>
        ) : approval ? (
          <Second approval={approval} />
        ) : (
          <>
            <Field label="Owner" hint={teams?.length === 0 ? "There is no team yet: ringfence teams set TEAM --contact …" : undefined}>
              {(id, described) => (
                <select id={id} aria-describedby={described} className="input" value={owner} onChange={(event) => setOwner(event.target.value)} autoFocus>
                  <option value="">No decision of ours (as its sources say)</option>
                  {teams?.map((team) => (
                    <option key={team.id} value={team.id}>
                      {team.name} ({team.id})
                    </option>
                  ))}
                </select>
              )}
            </Field>
            <Reason value={why} onChange={setWhy} />
          </>
        )}
        <div className="actions">
          <Button onClick={onClose}>{done || approval ? "Close" : "Cancel"}</Button>
          {approval?.state === "pending" && (
            <Button onClick={() => void look()} disabled={busy}>
              Look again
            </Button>
          )}
          {!done && approval?.state !== "pending" && (!approval || approval.state === "approved") && (
            <Button type="submit" look="main" disabled={busy || !why || !selected}>
              {approval ? "Carry it out" : `Set owner of ${devices}`}
            </Button>
          )}
        </div>
      </form>
    </Dialog>
  );
}

/** What the request says of which devices. */
function aboutOf(which: Which): { ids: string[] } | Partial<Pick<Query, "l" | "where" | "q">> {
  if ("ids" in which) return which;
  const { l, where, q } = which.query;
  return l || where || q ? { ...(l && { l }), ...(where && { where }), ...(q && { q }) } : { l: EVERYTHING };
}

function Meant({ which }: { which: Which }) {
  if ("ids" in which) return "Those that you chose.";
  const { l, where, q } = which.query;
  if (q) {
    return (
      <>
        All that the words <code>{q}</code> find
        {(l || where) && (
          <>
            {" "}
            among what <code>{[l, where].filter(Boolean).join(" and ")}</code> selects
          </>
        )}{" "}
        when it is done.
      </>
    );
  }
  if (l || where) {
    return (
      <>
        All that <code>{[l, where].filter(Boolean).join(" and ")}</code> selects when it is done.
      </>
    );
  }
  return "All active devices of the estate that you may see.";
}
