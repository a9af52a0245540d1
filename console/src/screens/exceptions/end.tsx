// Ends an exception before its time. One that somebody else changed meanwhile is looked at again first.

import { useState } from "react";
import { ask, problemOf, type Problem } from "../../api/client";
import { exact } from "../../lib/time";
import { Button, Dialog, ProblemNotice } from "../../ui/kit";
import { Reason } from "../../ui/reason";
import type { Exception } from ".";

export function End({ exception, onClose, onDone }: { exception: Exception; onClose: () => void; onDone: () => void }) {
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  // What is ended is the exception as it was when the question was asked.
  const [{ etag }] = useState(exception);
  const end = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await ask("post", "/v1/exceptions/{id}/end", { path: { id: exception.id }, body: { why }, headers: { "if-match": etag } });
      onDone();
      onClose();
    } catch (error) {
      setProblem(problemOf(error));
      onDone();
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title="End an exception" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (why) void end();
        }}
      >
        <h1>
          End {exception.from} → {exception.to}
        </h1>
        <p className="quiet">
          It would end by itself at {exact(exception.expires_at)}. The path closes at its site, with the flows that are open on it.
          {exception.source === "folder" && " Its line in the policy folder opens nothing any more, also when the same folder is set again."}
        </p>
        {problem && <ProblemNotice problem={problem} />}
        <Reason value={why} onChange={setWhy} autoFocus />
        <div className="actions">
          <Button onClick={onClose}>{problem?.code === "request.stale" ? "Look at it as it is now" : "Cancel"}</Button>
          <Button type="submit" look="main grave" disabled={busy || !why || problem?.code === "request.stale"}>
            End it now
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
