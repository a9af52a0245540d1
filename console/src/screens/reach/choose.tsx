// Where a plan comes from: a policy folder of this machine, or the one in force with a file of it written differently.

import { useState } from "react";
import { ask, type Schemas } from "../../api/client";
import { useLoaded } from "../../lib/load";
import { count } from "../../lib/time";
import { Button, Dialog, Field, Notice, ProblemNotice } from "../../ui/kit";
import { compare, folderOf, type Files } from "./plan";

/** React knows no attribute that makes a file box take a folder. */
const folder = { webkitdirectory: "" } as React.InputHTMLAttributes<HTMLInputElement>;

export function Choose({ onClose }: { onClose: () => void }) {
  const inForce = useLoaded("policy", async (signal) => (await ask("get", "/v1/policy", { signal })).body as Schemas["Policy"]);
  const [wrong, setWrong] = useState<string | null>(null);
  const [picked, setPicked] = useState<{ name: string; files: Files } | null>(null);
  const [path, setPath] = useState("");
  const [texts, setTexts] = useState<Files>({});
  const there = inForce.value?.files ?? {};
  const paths = Object.keys(there).sort();
  const changed = Object.keys(texts).filter((file) => texts[file] !== (there[file] ?? ""));
  const pick = async (list: FileList | null) => {
    const found = await folderOf([...(list ?? [])]);
    setWrong(typeof found === "string" ? found : null);
    setPicked(typeof found === "string" ? null : found);
  };
  const go = () => {
    if (picked) {
      // The schema is the same in every folder; a folder that leaves it out means that one.
      const schema = there["schema.cedarschema"];
      void compare(picked.name, { ...(schema !== undefined ? { "schema.cedarschema": schema } : {}), ...picked.files });
    } else {
      const files = { ...there };
      for (const file of changed) {
        // A file that is emptied is gone.
        if (texts[file]) files[file] = texts[file];
        else delete files[file];
      }
      void compare(changed.length === 1 ? `the folder in force with another ${changed[0]}` : `the folder in force with ${changed.length} other files`, files);
    }
    onClose();
  };
  return (
    <Dialog title="Plan" onClose={onClose} className="broad" still>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (picked || changed.length > 0) go();
        }}
      >
        <h1>What would another policy folder change?</h1>
        <p className="quiet">It is compared with the one in force over all devices as they are now. Nothing is set by that. What is planned can be set then, if its tests, claims and budgets hold.</p>
        {inForce.problem && inForce.problem.code !== "policy.none" && <ProblemNotice problem={inForce.problem} />}
        <Field label="A folder of this machine" hint={picked ? `${picked.name}: ${count(Object.keys(picked.files).length)} files` : "The one that has estate.toml. It is sent to the controller to be compared, and not kept."}>
          {(id, described) => <input id={id} {...folder} type="file" multiple className="input file" aria-describedby={described} onChange={(event) => void pick(event.target.files)} />}
        </Field>
        {wrong && <Notice tone="bad" title={wrong} alert />}
        {!picked && paths.length > 0 && (
          <>
            <Field label="Or a file of the folder in force" hint={changed.length > 0 ? `Written differently: ${changed.join(", ")}` : undefined}>
              {(id, described) => (
                <select id={id} className="input mono" aria-describedby={described} value={path} onChange={(event) => setPath(event.target.value)}>
                  <option value="">none</option>
                  {paths.map((one) => (
                    <option key={one} value={one}>
                      {one}
                    </option>
                  ))}
                </select>
              )}
            </Field>
            {path && (
              <Field label={`Text of ${path}`}>
                {(id) => <textarea id={id} className="input mono" rows={14} spellCheck={false} value={texts[path] ?? there[path] ?? ""} onChange={(event) => setTexts({ ...texts, [path]: event.target.value })} />}
              </Field>
            )}
          </>
        )}
        <div className="actions">
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="main" disabled={!picked && changed.length === 0}>
            Plan it
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
