// The inventory: every device, found by words, selectors and expressions, in any order, decided about in bulk.

import { useEffect, useReducer, useState } from "react";
import { live } from "../../api/live";
import { useMay } from "../../lib/may";
import { go, Link, usePlace } from "../../lib/route";
import { change, settings } from "../../lib/settings";
import { useStore } from "../../lib/store";
import { count } from "../../lib/time";
import { Icon } from "../../ui/icons";
import { Button, Menu, ProblemNotice } from "../../ui/kit";
import { ALWAYS, choices, SHOWN } from "./columns";
import { Edit, type Which } from "./edit";
import { Empty } from "./empty";
import { Find } from "./find";
import { Grid } from "./grid";
import { ALL, inventoryAt, keyOf, narrows, queryOf, type Query } from "./query";
import { Rows } from "./rows";
import { Views } from "./views";

/** The rows of a query, kept fresh while they are shown. Those of the one before are shown until the first answer. */
function useRows(query: Query): Rows | null {
  const [rows, setRows] = useState<Rows | null>(null);
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const key = keyOf(query);
  useEffect(() => {
    const { l, where, q, sort } = query;
    const made: Rows = new Rows({ l, where, q, sort }, () => {
      setRows(made);
      draw();
    });
    made.start();
    const silent = live.hear((change) => {
      if (change === null || change.events.some((event) => event.area === "device")) made.refresh();
    });
    return () => {
      silent();
      made.end();
    };
    // What `key` does not hold concerns no row.
    // eslint-disable-next-line
  }, [key]);
  return rows;
}

export function Inventory() {
  const query = queryOf(usePlace().query);
  const key = keyOf(query);
  const rows = useRows(query);
  const may = useMay();
  const { columns: kept } = useStore(settings);
  const shown = query.columns.length > 0 ? query.columns : (kept ?? SHOWN);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [editing, setEditing] = useState<Which | null>(null);
  const [expression, setExpression] = useState(false);
  const standing = rows?.standing;
  const waiting = !rows || keyOf({ ...query, ...rows.query }) !== key;
  const among = narrows(query);

  // Another order shows the same devices.
  const which = JSON.stringify([query.l, query.where, query.q]);
  useEffect(() => setChosen(new Set()), [which]);
  const show = (some: Partial<Query>) => go(inventoryAt({ ...query, ...some }));
  const columns = (ids: string[]) => (query.columns.length > 0 ? show({ columns: ids }) : change({ columns: ids }));
  const empty = standing?.complete === true && standing.length === 0;

  return (
    <>
      <header className="bar">
        <h1>Inventory</h1>
        <span className="tally" role="status">
          {standing?.first && standing.problem ? "" : waiting || !standing || standing.first ? "…" : tally(standing)}
        </span>
        <Views query={query} shown={shown} onOpen={(view) => go(inventoryAt(view))} />
        <span className="space" />
        {chosen.size > 0 && (
          <>
            <span className="tally" role="status">
              {count(chosen.size)} chosen
            </span>
            <Button look="plain" onClick={() => setChosen(new Set())}>
              Choose none
            </Button>
          </>
        )}
        {may("devices.edit") &&
          (chosen.size > 0 ? (
            <Button look="main" onClick={() => setEditing({ ids: [...chosen] })}>
              Set owner…
            </Button>
          ) : (
            <Button disabled={empty || waiting || standing?.first === true} onClick={() => setEditing({ query })}>
              Set owner of all{among ? " of these" : ""}…
            </Button>
          ))}
        {may("devices.import") && (
          <Link className="button" to="/import">
            Import…
          </Link>
        )}
        <Menu label="Columns" icon="columns">
          {choices(shown).map((column) => {
            const id = column.id ?? "";
            return (
              <label key={id}>
                <input type="checkbox" checked={shown.includes(id)} disabled={id === ALWAYS} onChange={(event) => columns(event.target.checked ? [...shown, id] : shown.filter((one) => one !== id))} />
                {String(column.header)}
              </label>
            );
          })}
          <hr />
          <button type="button" data-close onClick={() => columns(SHOWN)}>
            As everybody begins
          </button>
        </Menu>
      </header>
      <div className="bar finding">
        <Find key={`q ${query.q}`} main label="Words" icon="search" value={query.q} onFind={(q) => show({ q })} placeholder="words in names, addresses, vendors, owners" title="What is typed occurs in its name, host name, address, link address, vendor, model, owner or id">
          <kbd aria-hidden="true">/</kbd>
        </Find>
        <Find key={`l ${query.l}`} mono label="Selector" icon="filter" value={query.l} onFind={(l) => show({ l })} placeholder="type=ip-camera, site in (w1,w2), !owner" title="FIELD=VALUE, FIELD!=VALUE, FIELD in (A,B), FIELD, !FIELD; all of them hold" />
        {query.where || expression ? (
          <Find key={`where ${query.where}`} mono label="Expression" icon="filter" value={query.where} onFind={(where) => show({ where })} placeholder='device.last_seen < now.offset(duration("-1d"))' title="A Cedar expression about `device` and `now`, in the words of policies" />
        ) : (
          <Button look="plain" onClick={() => setExpression(true)}>
            Expression…
          </Button>
        )}
        {among && (
          <Button look="plain" onClick={() => show({ l: "", where: "", q: "" })}>
            <Icon name="close" size={12} /> Show all
          </Button>
        )}
      </div>
      {standing?.problem && (
        <div className="trouble">
          <ProblemNotice problem={standing.problem} />
          <Button onClick={() => rows?.retry()}>Try again</Button>
        </div>
      )}
      {empty ? (
        <Empty query={rows?.query ?? query} onAll={() => go(inventoryAt({ ...ALL, columns: query.columns }))} />
      ) : (
        rows &&
        !standing?.first && (
          <Grid
            key={JSON.stringify(rows.query)}
            rows={rows}
            version={rows.standing.version}
            waiting={waiting}
            shown={shown}
            chosen={chosen}
            onChoose={setChosen}
            sort={query.sort}
            onSort={(sort) => show({ sort: sort === "id" ? "" : sort })}
          />
        )
      )}
      {editing && <Edit which={editing} onClose={() => setEditing(null)} onDone={() => setChosen(new Set())} />}
    </>
  );
}

function tally({ total, length }: Rows["standing"]): string {
  if (total === null) return `${count(length)}+ devices`;
  return `${count(total)} ${total === 1 ? "device" : "devices"}`;
}
