// Views: lists that people keep under a name, for everybody. A view grants nothing: whoever opens it sees of it what they may.

import { useState } from "react";
import { ask, problemOf, type Problem } from "../../api/client";
import { useLoaded } from "../../lib/load";
import { useMay } from "../../lib/may";
import { Button, Dialog, Field, Menu, ProblemNotice } from "../../ui/kit";
import { Reason } from "../../ui/reason";
import { keptInViews } from "./columns";
import { ALL, differs, opened, type Query, type View } from "./query";

interface Props {
  query: Query;
  /** Columns that are shown. */
  shown: string[];
  onOpen: (query: Query) => void;
}

export function Views({ query, shown, onOpen }: Props) {
  const may = useMay();
  const views = useLoaded("views", async (signal) => (await ask("get", "/v1/views", { query: { limit: 1000 }, signal })).body.items as View[], (change) => change.events.some(({ area }) => area === "view"));
  const [doing, setDoing] = useState<"save" | "remove" | null>(null);
  const all = views.value ?? [];
  const open = all.find((view) => view.name === query.view);
  return (
    <>
      {open && (
        <span className="tag" role="status">
          view {open.name}
          {differs(query, open) && ", changed"}
        </span>
      )}
      <Menu label="Views" icon="views">
        {all.length === 0 && <p className="note">{views.problem ? views.problem.detail : "Nobody has kept a view yet."}</p>}
        {all.map((view) => (
          <button key={view.name} type="button" data-close aria-current={view.name === query.view || undefined} title={[view.q, view.l, view.where, view.sort && `by ${view.sort}`].filter(Boolean).join("\n") || "all devices"} onClick={() => onOpen(opened(view))}>
            {view.name}
          </button>
        ))}
        {(query.view || may("views.edit")) && <hr />}
        {query.view && (
          <button type="button" data-close onClick={() => onOpen(ALL)}>
            Leave the view
          </button>
        )}
        {may("views.edit") && (
          <button type="button" data-close onClick={() => setDoing("save")}>
            Keep this list as a view…
          </button>
        )}
        {open && may("views.edit") && (
          <button type="button" data-close onClick={() => setDoing("remove")}>
            Take view {open.name} away…
          </button>
        )}
      </Menu>
      {doing === "save" && <Save query={query} shown={shown} all={all} onClose={() => setDoing(null)} onDone={(view) => (views.again(), onOpen(opened(view)))} />}
      {doing === "remove" && open && <Remove view={open} onClose={() => setDoing(null)} onDone={() => (views.again(), onOpen({ ...query, view: "" }))} />}
    </>
  );
}

function Save({ query, shown, all, onClose, onDone }: { query: Query; shown: string[]; all: View[]; onClose: () => void; onDone: (view: View) => void }) {
  const [name, setName] = useState(query.view);
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  // What it takes the place of is the view as it was when the question was asked, or when it was looked at again.
  const [seen, setSeen] = useState<View | null>(null);
  const [first] = useState(all);
  const before = seen?.name === name ? seen : first.find((view) => view.name === name);
  const { l, where, q, sort } = query;
  const again = async () => {
    try {
      const { body } = await ask("get", "/v1/views/{name}", { path: { name } });
      setSeen(body);
      setProblem(null);
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  const keep = async () => {
    setBusy(true);
    setProblem(null);
    try {
      const body = { l, where, q, sort, columns: keptInViews(shown), why };
      const { body: view } = await ask("put", "/v1/views/{name}", { path: { name }, body, headers: before ? { "if-match": before.etag } : {} });
      onDone(view);
      onClose();
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title="Keep as a view" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void keep();
        }}
      >
        <h1>Keep this list as a view</h1>
        <p className="quiet">Everybody sees it in their list of views, and <code>ringfence get devices --view</code> shows it too.</p>
        <dl className="facts">
          <dt>Words</dt>
          <dd>{q || <span className="faint">none</span>}</dd>
          <dt>Selector</dt>
          <dd className="mono">{l || <span className="faint">none</span>}</dd>
          {where && (
            <>
              <dt>Expression</dt>
              <dd className="mono">{where}</dd>
            </>
          )}
          <dt>Order</dt>
          <dd>{sort ? (sort.startsWith("-") ? `${sort.slice(1)}, falling` : `${sort}, rising`) : "id"}</dd>
          <dt>Columns</dt>
          <dd>{keptInViews(shown).join(", ")}</dd>
        </dl>
        {problem && <ProblemNotice problem={problem} />}
        <Field label="Name" hint={before ? "There is one with this name: it becomes this list." : "1 to 63 of a-z 0-9 - _ ."}>
          {(id, described) => <input id={id} className="input mono" aria-describedby={described} autoFocus autoComplete="off" spellCheck={false} maxLength={63} value={name} onChange={(event) => setName(event.target.value)} />}
        </Field>
        <Reason value={why} onChange={setWhy} />
        <div className="actions">
          <Button onClick={onClose}>Cancel</Button>
          {problem?.code === "request.stale" ? (
            <Button
              key="look"
              look="main"
              onClick={() => void again()}
            >
              Take the place of the new one
            </Button>
          ) : (
            <Button key="do" type="submit" look="main" disabled={busy || !name || !why}>
              {before ? `Change view ${name}` : "Keep view"}
            </Button>
          )}
        </div>
      </form>
    </Dialog>
  );
}

function Remove({ view, onClose, onDone }: { view: View; onClose: () => void; onDone: () => void }) {
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const remove = async () => {
    setBusy(true);
    try {
      await ask("delete", "/v1/views/{name}", { path: { name: view.name }, query: { why } });
      onDone();
      onClose();
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title="Take a view away" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void remove();
        }}
      >
        <h1>Take view {view.name} away</h1>
        <p className="quiet">Nobody finds it in the list of views any more. Devices are not concerned, and addresses of lists that were opened from it still work.</p>
        {problem && <ProblemNotice problem={problem} />}
        <Reason value={why} onChange={setWhy} autoFocus />
        <div className="actions">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="main grave" disabled={busy || !why}>
            Take view {view.name} away
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
