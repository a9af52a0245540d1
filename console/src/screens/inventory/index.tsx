// The inventory: every device, found by selector, decided about in bulk.

import { useEffect, useReducer, useState } from "react";
import { live } from "../../api/live";
import { go, usePlace } from "../../lib/route";
import { change, settings } from "../../lib/settings";
import { useStore } from "../../lib/store";
import { count } from "../../lib/time";
import { Icon } from "../../ui/icons";
import { Button, Menu, ProblemNotice } from "../../ui/kit";
import { columns, SHOWN } from "./columns";
import { Edit } from "./edit";
import { Empty } from "./empty";
import { Rows } from "./rows";
import { Grid } from "./grid";

/** The rows of a selector, kept fresh while they are shown. Those of the one before are shown until the first answer. */
function useRows(l: string): Rows | null {
  const [rows, setRows] = useState<Rows | null>(null);
  const [, draw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => {
    const made: Rows = new Rows(l, () => {
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
  }, [l]);
  return rows;
}

export function Inventory() {
  const { query } = usePlace();
  const l = query.get("l") ?? "";
  const rows = useRows(l);
  const { columns: kept } = useStore(settings);
  const shown = kept ?? SHOWN;
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [editing, setEditing] = useState<"chosen" | "all" | null>(null);
  const standing = rows?.standing;
  const waiting = !rows || rows.l !== l;

  useEffect(() => setChosen(new Set()), [l]);
  const select = (l: string) => go(l ? `/devices?l=${encodeURIComponent(l)}` : "/devices");
  const empty = standing?.complete === true && standing.length === 0;

  return (
    <>
      <header className="bar">
        <h1>Inventory</h1>
        <span className="tally" role="status">
          {waiting || !standing || standing.first ? "…" : tally(standing)}
        </span>
        <Selector key={l} value={l} onSelect={select} />
        <span className="space" />
        {chosen.size > 0 ? (
          <>
            <span className="tally" role="status">
              {count(chosen.size)} chosen
            </span>
            <Button look="plain" onClick={() => setChosen(new Set())}>
              Choose none
            </Button>
            <Button look="main" onClick={() => setEditing("chosen")}>
              Set owner…
            </Button>
          </>
        ) : (
          <Button disabled={empty || waiting} onClick={() => setEditing("all")}>
            Set owner of all{l ? " of these" : ""}…
          </Button>
        )}
        <Menu label="Columns" icon="columns">
          {columns.map((column) => {
            const id = column.id ?? "";
            return (
              <label key={id}>
                <input
                  type="checkbox"
                  checked={shown.includes(id)}
                  disabled={column.enableHiding === false}
                  onChange={(event) => change({ columns: event.target.checked ? [...shown, id] : shown.filter((one) => one !== id) })}
                />
                {String(column.header)}
              </label>
            );
          })}
          <hr />
          <button type="button" onClick={() => change({ columns: null })}>
            As everybody begins
          </button>
        </Menu>
      </header>
      {standing?.problem && (
        <div className="trouble">
          <ProblemNotice problem={standing.problem} />
          <Button onClick={() => rows?.retry()}>Try again</Button>
        </div>
      )}
      {empty ? (
        <Empty l={rows?.l ?? l} onAll={() => select("")} />
      ) : (
        rows && !standing?.first && <Grid key={rows.l} rows={rows} version={rows.standing.version} waiting={waiting} shown={shown} chosen={chosen} onChoose={setChosen} />
      )}
      {editing && <Edit l={l} ids={editing === "chosen" ? [...chosen] : null} onClose={() => setEditing(null)} onDone={() => setChosen(new Set())} />}
    </>
  );
}

function tally({ length, complete }: Rows["standing"]): string {
  const devices = length === 1 && complete ? "device" : "devices";
  return `${count(length)}${complete ? "" : "+"} ${devices}`;
}

/** What is typed is asked for with Enter; the controller says what of it is no field. */
function Selector({ value, onSelect }: { value: string; onSelect: (l: string) => void }) {
  const [text, setText] = useState(value);
  return (
    <form
      className="selector"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        onSelect(text.trim());
      }}
    >
      <Icon name="search" />
      <input
        data-find
        aria-label="Selector"
        autoComplete="off"
        spellCheck={false}
        placeholder="type=ip-camera, site in (w1,w2), !owner"
        title="FIELD=VALUE, FIELD!=VALUE, FIELD in (A,B), FIELD, !FIELD; all of them hold"
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          if (text) setText("");
          else event.currentTarget.blur();
          if (value) onSelect("");
        }}
      />
      {text ? (
        <button
          type="button"
          className="clear"
          aria-label="Show all devices"
          onClick={() => {
            setText("");
            onSelect("");
          }}
        >
          <Icon name="close" size={12} />
        </button>
      ) : (
        <kbd aria-hidden="true">/</kbd>
      )}
    </form>
  );
}
