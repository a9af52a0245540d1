// A list of devices is taken in: first it is told row by row what would change, then it is done. What is refused says which row, what is
// wrong with it, why, and what to do. When nobody knows how much of it was done, the same list tells: what was done is the same by then.

import { useEffect, useState, type DragEvent } from "react";
import { ask, problemOf, type Approval, type Problem, type Schemas } from "../../api/client";
import { useMay, useMyself } from "../../lib/may";
import { Link } from "../../lib/route";
import { count } from "../../lib/time";
import { Button, Field, Notice, ProblemNotice } from "../../ui/kit";
import { Reason } from "../../ui/reason";
import { lookAt, Second } from "../../ui/second";
import { Difference } from "./difference";
import "../../styles/import.css";

export type Told = Schemas["Import"];

const FORMATS = [
  ["auto", "What it looks like"],
  ["csv", "Table (CSV)"],
  ["dnsmasq", "Leases of dnsmasq"],
  ["isc", "Leases of ISC dhcpd"],
  ["kea", "Leases of Kea"],
] as const;

const SEPARATORS: Record<string, string> = { ",": "commas", ";": "semicolons", "\t": "tabs" };

/** What the controller takes at most. */
const BYTES_MAX = 64 * 2 ** 20;

interface List {
  name: string;
  text: string;
}

/** Whose list it is, where, and how it is read. */
interface How {
  format: string;
  site: string;
  source: string;
}

export default function ImportScreen() {
  const may = useMay();
  const me = useMyself();
  const [list, setList] = useState<List | null>(null);
  const [how, setHow] = useState<How>({ format: "auto", site: "", source: "" });
  const [dry, setDry] = useState<Told | null>(null);
  const [why, setWhy] = useState("");
  const [strict, setStrict] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [approval, setApproval] = useState<Approval | null>(null);
  const [done, setDone] = useState<Told | null>(null);

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
  const asked = { ...how, format: how.format === "auto" ? undefined : how.format } as { format?: string; site: string; source: string };
  const body = list?.text ?? "";
  const look = () =>
    run(async () => {
      setApproval(null);
      setDone(null);
      const told = await ask("post", "/v1/devices/import", { query: { ...asked, dry_run: true }, body });
      if (told.status === 200) setDry(told.body);
    });
  const carry = () =>
    run(async () => {
      const headers: Record<string, string> = approval ? { "ringfence-approval": approval.id } : {};
      const told = await ask("post", "/v1/devices/import", { query: { ...asked, why, all_or_nothing: strict }, body, headers });
      if (told.status === 202) {
        setApproval(told.body);
      } else {
        setDone(told.body);
        setApproval(null);
      }
    });
  const again = () => {
    setDry(null);
    setDone(null);
    setApproval(null);
    setProblem(null);
  };
  const take = (taken: List | null, trouble?: Problem) => {
    again();
    setList(taken);
    if (trouble) setProblem(trouble);
  };

  if (me && !may("devices.import")) {
    return (
      <div className="empty">
        <h1>Lists are taken in by others</h1>
        <p>It takes the role operator. What is in the estate you see in the inventory.</p>
        <Link className="button" to="/devices">
          Go to the inventory
        </Link>
      </div>
    );
  }
  const told = done ?? dry;
  const changes = dry ? dry.counts.new + dry.counts.changed + dry.counts.seen : 0;
  // Its request went out, and nobody knows what became of it.
  const unknown = problem !== null && dry !== null && !done && (problem.code === "console.unreachable" || /parts are done/.test(problem.help ?? ""));
  return (
    <>
      <header className="bar">
        <Link className="quiet" to="/devices">
          Inventory
        </Link>
        <span className="faint" aria-hidden="true">
          /
        </span>
        <h1>Import</h1>
        {list && (
          <span className="tally">
            {list.name}, {count(list.text.length)} characters
          </span>
        )}
        <span className="space" />
        {list && <Button onClick={() => take(null)}>Another list…</Button>}
      </header>
      <div className={told ? "importing told" : "importing scroll"}>
        {!list && <Pick onTake={take} />}
        {problem && !unknown && <ProblemNotice problem={problem} />}
        {unknown && (
          <Notice tone="note" title={problem.code === "console.unreachable" ? "Nobody knows how much of it was done" : "A part of it was done"} alert>
            <p>{problem.code === "console.unreachable" ? "The controller did not answer to the end." : problem.detail}</p>
            <p>What was done is done, device by device, and nothing of it twice.</p>
            {problem.code !== "console.unreachable" && <p>{problem.help}</p>}
            <div className="buttons">
              <Button look="main" disabled={busy} onClick={() => void look()}>
                Look at what is left
              </Button>
            </div>
          </Notice>
        )}
        {list && !told && <Ways how={how} busy={busy} onHow={setHow} onLook={() => void look()} />}
        {told && !unknown && (
          <section className="summary-of" aria-label="What it comes to">
            {done && (
              <Notice tone={done.counts.refused > 0 ? "note" : "good"} title={done.counts.refused > 0 ? `Done, and ${count(done.counts.refused)} ${done.counts.refused === 1 ? "row was" : "rows were"} left out` : "Done: the estate is as the list says"} alert>
                <p>
                  {count(done.counts.new)} new, {count(done.counts.changed)} changed, {count(done.counts.same)} known already. {done.counts.refused > 0 ? "Mend the rows below and import the same list again: what is done already stays as it is." : "It is in the journal, with your reason."}
                </p>
              </Notice>
            )}
            {!done && approval && <Second approval={approval} />}
            {!done && !approval && dry && <Before dry={dry} changes={changes} />}
            {!done && (
              <form
                className="carry"
                onSubmit={(event) => {
                  event.preventDefault();
                  if (why) void carry();
                }}
              >
                {!approval && changes > 0 && (
                  <>
                    <Reason value={why} onChange={setWhy} />
                    {(dry?.counts.refused ?? 0) > 0 && (
                      <label className="check">
                        <input type="checkbox" checked={strict} onChange={(event) => setStrict(event.target.checked)} /> Change nothing as long as a row is refused
                      </label>
                    )}
                  </>
                )}
                <div className="buttons">
                  <Button onClick={again}>Back</Button>
                  {approval?.state === "pending" && (
                    <Button disabled={busy} onClick={() => void run(async () => setApproval(await lookAt(approval)))}>
                      Look again
                    </Button>
                  )}
                  {changes > 0 && (!approval || approval.state === "approved") && (
                    <Button type="submit" look="main" disabled={busy || !why || (strict && (dry?.counts.refused ?? 0) > 0)}>
                      {busy ? "Taking it in…" : approval ? "Carry it out" : `Take in ${count(changes)} ${changes === 1 ? "row" : "rows"}`}
                    </Button>
                  )}
                </div>
              </form>
            )}
            {done && (
              <div className="buttons">
                <Link className="button" to="/devices">
                  Go to the inventory
                </Link>
                <Button onClick={() => take(null)}>Another list…</Button>
              </div>
            )}
          </section>
        )}
        {told && <Difference key={done ? "done" : "dry"} told={told} text={body} />}
      </div>
    </>
  );
}

function Before({ dry, changes }: { dry: Told; changes: number }) {
  const { refused, decided } = dry.counts;
  const title = changes === 0 ? (refused > 0 ? "No row of it can be taken in" : "Nothing would change") : "Nothing is changed yet";
  return (
    <Notice tone={refused > 0 ? "note" : "none"} title={title} alert>
      <p>
        Read as {FORMATS.find(([word]) => word === dry.format)?.[1] ?? dry.format}
        {dry.separator && ` with ${SEPARATORS[dry.separator] ?? dry.separator} between values`}, told by <code>{dry.source}</code>.{" "}
        {decided > 0 && `Something is decided about ${count(decided)} ${decided === 1 ? "device" : "devices"}: names, owners, zones and the like hold until a person takes them back.`}
        {refused > 0 && changes > 0 && ` ${count(refused)} ${refused === 1 ? "row is" : "rows are"} refused and would be left out.`}
        {changes === 0 && refused === 0 && " All that the list says is known."}
      </p>
    </Notice>
  );
}

/** A list that was chosen, dropped, or pasted. */
function Pick({ onTake }: { onTake: (list: List | null, problem?: Problem) => void }) {
  const [text, setText] = useState("");
  const [over, setOver] = useState(false);
  const read = async (file: File | undefined) => {
    if (!file) return;
    if (file.size > BYTES_MAX) {
      return onTake(null, { type: "", status: 413, code: "console.large", title: "the list is too long", detail: `${file.name} has ${count(file.size)} bytes; the controller takes ${count(BYTES_MAX)}.`, help: "Send it in parts: each with the line of names." });
    }
    const bytes = new Uint8Array(await file.arrayBuffer());
    try {
      onTake({ name: file.name, text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) });
    } catch {
      onTake(null, { type: "", status: 422, code: "console.text", title: "the list is no text in UTF-8", detail: `${file.name} has bytes that are none.`, help: "Save it as `CSV UTF-8`; a workbook (.xlsx) is no table in this sense." });
    }
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    void read(event.dataTransfer.files[0]);
  };
  return (
    <section className="card pick" data-over={over} onDragOver={(event) => (event.preventDefault(), setOver(true))} onDragLeave={() => setOver(false)} onDrop={drop} aria-labelledby="pick">
      <h2 id="pick">A list of devices</h2>
      <div className="inside">
        <p className="quiet">
          A table (CSV) whose first line names its columns, as <code>ringfence get devices -o csv</code> writes it: <code>id</code> or <code>mac</code>, then what you know: <code>name, owner, site, type, vendor, model, label.rack</code>. Or the file of leases of a DHCP server. Nothing is changed before you have seen what would be.
        </p>
        <Field label="File" hint="Or drop it here.">
          {(id, described) => <input id={id} type="file" className="input file" aria-describedby={described} accept=".csv,.tsv,.txt,.leases,text/csv,text/plain" onChange={(event) => void read(event.target.files?.[0])} />}
        </Field>
        <Field label="Or its text">
          {(id) => <textarea id={id} className="input mono" rows={7} spellCheck={false} placeholder={"mac,name,owner,site\n02:00:5e:00:00:07,Gate camera,video,w1"} value={text} onChange={(event) => setText(event.target.value)} />}
        </Field>
        <div className="buttons">
          <Button disabled={!text.trim()} onClick={() => onTake({ name: "pasted text", text })}>
            Take this text
          </Button>
        </div>
      </div>
    </section>
  );
}

function Ways({ how, busy, onHow, onLook }: { how: How; busy: boolean; onHow: (how: How) => void; onLook: () => void }) {
  const [sites, setSites] = useState<Schemas["Site"][]>([]);
  useEffect(() => {
    ask("get", "/v1/sites", { query: { limit: 1000 } })
      .then(({ body }) => setSites(body.items as Schemas["Site"][]))
      .catch(() => undefined);
  }, []);
  return (
    <form
      className="card"
      aria-labelledby="ways"
      onSubmit={(event) => {
        event.preventDefault();
        onLook();
      }}
    >
      <h2 id="ways">How it is read</h2>
      <div className="inside">
        <div className="pair">
          <Field label="Format">
            {(id) => (
              <select id={id} className="input" autoFocus value={how.format} onChange={(event) => onHow({ ...how, format: event.target.value })}>
                {FORMATS.map(([word, name]) => (
                  <option key={word} value={word}>
                    {name}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <Field label="Site of rows that do not say" hint="Leases need it.">
            {(id, described) => (
              <select id={id} className="input" aria-describedby={described} value={how.site} onChange={(event) => onHow({ ...how, site: event.target.value })}>
                <option value="">none</option>
                {sites.map((site) => (
                  <option key={site.id} value={site.id}>
                    {site.name} ({site.id})
                  </option>
                ))}
              </select>
            )}
          </Field>
          <Field label="Source" hint="Who tells. The same list is the same source every time: import/NAME, leases/NAME.">
            {(id, described) => <input id={id} className="input mono" aria-describedby={described} autoComplete="off" spellCheck={false} placeholder="import/list" value={how.source} onChange={(event) => onHow({ ...how, source: event.target.value.trim() })} />}
          </Field>
        </div>
        <div className="buttons">
          <Button type="submit" look="main" disabled={busy}>
            {busy ? "Comparing…" : "Look at what would change"}
          </Button>
        </div>
      </div>
    </form>
  );
}
