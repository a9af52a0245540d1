// What a person decides about one device. Each says what it will do before it does it, and asks for a reason. A device that somebody else
// changed meanwhile is not changed: it is shown as it is now, and decided about again.

import { useEffect, useState } from "react";
import { ask, problemOf, type Device, type Problem, type Team } from "../../api/client";
import { Button, Dialog, Field, ProblemNotice } from "../../ui/kit";
import { Reason } from "../../ui/reason";
import { nameOf } from "../inventory/columns";

export type Deed = { kind: "edit" | "quarantine" | "release" | "retire" };

const DEEDS = {
  quarantine: {
    title: "Quarantine",
    what: "Everything it is granted ends, at its site too, with the flows that are open. It stays so until somebody releases it, whatever any source says.",
    button: "Quarantine",
    grave: true,
  },
  release: {
    title: "Release",
    what: "The decision about its posture is taken back: it gets what policy grants on today's evidence, which may be nothing.",
    button: "Release",
    grave: false,
  },
  retire: {
    title: "Retire",
    what: "It is gone for good: its leases end and its id stays taken. When it is seen again, a person is asked.",
    button: "Retire",
    grave: true,
  },
} as const;

export function Act({ device, deed, onClose, onDone }: { device: Device; deed: Deed; onClose: () => void; onDone: () => void }) {
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  // What is decided about is the device as it was when the question was asked.
  const [asked, setAsked] = useState(device);
  const [first] = useState(device.etag);
  const [set, setSet] = useState<Record<string, string | null>>({});
  const changedMeanwhile = problem?.code === "request.stale";

  const carry = async () => {
    setBusy(true);
    setProblem(null);
    try {
      const path = { id: device.id };
      if (deed.kind === "retire") {
        await ask("post", "/v1/devices/{id}/retire", { path, body: { why } });
      } else {
        const values = deed.kind === "edit" ? set : { posture: deed.kind === "quarantine" ? "quarantined" : null };
        await ask("patch", "/v1/devices/{id}", { path, body: { set: values, why }, headers: { "if-match": asked.etag } });
      }
      onDone();
      onClose();
    } catch (error) {
      setProblem(problemOf(error));
      onDone();
    } finally {
      setBusy(false);
    }
  };
  const about = deed.kind === "edit" ? null : DEEDS[deed.kind];
  const nothing = deed.kind === "edit" && Object.keys(set).length === 0;
  return (
    <Dialog title={about?.title ?? "Edit"} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!nothing && why) void carry();
        }}
      >
        <h1>
          {about?.title ?? "Edit"} {nameOf(device)}
        </h1>
        {about ? <p className="quiet">{about.what}</p> : <p className="quiet">What a person decides holds until it is taken back; no source changes it.</p>}
        {problem && <ProblemNotice problem={problem} />}
        {!about && <Values device={asked} set={set} onSet={setSet} />}
        <Reason key={asked.etag} value={why} onChange={setWhy} autoFocus={!!about || asked.etag !== first} />
        <div className="actions">
          <Button onClick={onClose}>Cancel</Button>
          {changedMeanwhile ? (
            // Another button, not the same one with another word: the key that is still down is not for it.
            <Button
              key="look"
              look="main"
              onClick={() => {
                setAsked(device);
                setProblem(null);
              }}
            >
              Look at it as it is now
            </Button>
          ) : (
            <Button key="do" type="submit" look={about?.grave ? "main grave" : "main"} disabled={busy || !why || nothing}>
              {about?.button ?? "Save"}
            </Button>
          )}
        </div>
      </form>
    </Dialog>
  );
}

const CRITICALITY = ["low", "normal", "high", "safety"];

function Values({ device, set, onSet }: { device: Device; set: Record<string, string | null>; onSet: (set: Record<string, string | null>) => void }) {
  const [teams, setTeams] = useState<Team[]>([]);
  useEffect(() => {
    ask("get", "/v1/teams", { query: { limit: 1000 } })
      .then(({ body }) => setTeams(body.items as Team[]))
      .catch(() => undefined);
  }, []);
  const now = (field: "name" | "owner" | "zone" | "criticality") => {
    const changed = set[field];
    return changed !== undefined ? (changed ?? "") : (device[field]?.value ?? "");
  };
  const put = (field: string, before: string | undefined, value: string) => {
    const next = { ...set };
    if (value === (before ?? "")) delete next[field];
    else next[field] = value === "" ? null : value;
    onSet(next);
  };
  const choice = (field: "owner" | "criticality", label: string, options: [string, string][]) => (
    <Field label={label}>
      {(id) => (
        <select id={id} className="input" value={now(field)} onChange={(event) => put(field, device[field]?.value, event.target.value)}>
          <option value="">As its sources say</option>
          {now(field) && !options.some(([value]) => value === now(field)) && <option value={now(field)}>{now(field)}</option>}
          {options.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
  return (
    <div className="pair">
      <Field label="Name">
        {(id) => <input id={id} className="input" autoFocus autoComplete="off" maxLength={256} value={now("name")} onChange={(event) => put("name", device.name?.value, event.target.value)} />}
      </Field>
      {choice("owner", "Owner", teams.map((team) => [team.id, `${team.name} (${team.id})`]))}
      <Field label="Zone">
        {(id) => (
          <input id={id} className="input mono" autoComplete="off" spellCheck={false} placeholder="w1/cameras" value={now("zone")} onChange={(event) => put("zone", device.zone?.value, event.target.value)} />
        )}
      </Field>
      {choice("criticality", "Criticality", CRITICALITY.map((word) => [word, word]))}
    </div>
  );
}
