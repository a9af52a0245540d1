// A change that was answered. Its request is in nobody's hands but those of who asked: they ask for the same again, and it is carried out with the
// approval, once.

import type { Approval } from "../../api/client";
import { Link } from "../../lib/route";
import { Second } from "../../ui/second";
import { inventoryAt } from "../inventory/query";
import { Asked } from "./asked";
import type { Command } from "./words";

export function Carry({ approval, mine }: { approval: Approval; mine: boolean }) {
  const { change, l, where, q } = approval.command as Command;
  return (
    <article className="stack inquiry">
      <Second approval={approval} />
      <Asked approval={approval} />
      {mine && approval.state === "approved" && (
        <section className="card" aria-labelledby="carry">
          <h2 id="carry">How it is carried out</h2>
          <div className="inside">
            {change === "devices" && (
              <>
                <p>Ask for the same again: it says that it is approved, and carries it out.</p>
                <div className="buttons">
                  <Link className="button main" to={inventoryAt({ l: l ?? "", where: where ?? "", q: q ?? "" })}>
                    Go to these devices
                  </Link>
                </div>
              </>
            )}
            {change === "import" && (
              <>
                <p>Choose the same file again, with the same source: it says that it is approved, and carries it out.</p>
                <div className="buttons">
                  <Link className="button main" to="/import">
                    Go to the import
                  </Link>
                </div>
              </>
            )}
            {change === "exception" && <p>Where it was asked for it can be carried out as long as that question is open. On a machine with the command line, ask for the same again with the approval named:</p>}
            {change === "policy" && <p>Where the plan is still open, setting it again carries it out. On a machine with the command line:</p>}
            {change === "exception" && (
              <pre className="code" tabIndex={0}>{`ringfence exception add … --approval ${approval.id}`}</pre>
            )}
            {change === "policy" && (
              <pre className="code" tabIndex={0}>{`ringfence apply -f FOLDER --approval ${approval.id} --reason …`}</pre>
            )}
          </div>
        </section>
      )}
    </article>
  );
}
