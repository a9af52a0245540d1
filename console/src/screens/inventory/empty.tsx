// Nothing to show: because there is nothing yet, or because nothing is so.

import { useEffect, useState } from "react";
import { ask, type Schemas } from "../../api/client";
import { Link } from "../../lib/route";
import { Button } from "../../ui/kit";
import { ALL, narrows, type Query } from "./query";

export function Empty({ query, onAll }: { query: Pick<Query, "l" | "where" | "q">; onAll: () => void }) {
  const found = narrows({ ...ALL, ...query });
  const [sites, setSites] = useState<Schemas["Site"][] | null>(null);
  useEffect(() => {
    if (found) return;
    ask("get", "/v1/sites", { query: { limit: 10 } })
      .then(({ body }) => setSites(body.items as Schemas["Site"][]))
      .catch(() => setSites([]));
  }, [found]);
  if (found) {
    return (
      <div className="empty">
        <h2>No device is so</h2>
        <p>What was asked for was understood, and nothing is so:</p>
        <dl className="facts">
          {query.q && (
            <>
              <dt>Words</dt>
              <dd>
                <code>{query.q}</code>
              </dd>
            </>
          )}
          {query.l && (
            <>
              <dt>Selector</dt>
              <dd>
                <code>{query.l}</code>
              </dd>
            </>
          )}
          {query.where && (
            <>
              <dt>Expression</dt>
              <dd>
                <code>{query.where}</code>
              </dd>
            </>
          )}
        </dl>
        <Button onClick={onAll}>Show all devices</Button>
      </div>
    );
  }
  const site = sites?.[0]?.id ?? "w1";
  return (
    <div className="empty">
      <h2>The estate is empty</h2>
      <p>
        Devices appear here by themselves, as soon as a site listens to its network. {sites?.length === 0 ? "There is no site yet." : ""} On a machine with the command line:
      </p>
      <pre tabIndex={0}>
        {sites?.length === 0 ? `ringfence sites create ${site} --reason "the first warehouse"\n` : ""}
        {`ringfence sites token ${site} --reason "its box" > token`}
      </pre>
      <p>and on the box at the site, with that token:</p>
      <pre tabIndex={0}>{`ringfence site join --controller ${location.hostname}:8444 --token-file token\nringfence site run --controller --interface br0`}</pre>
      <p>
        What you have as a list is here at once: <Link to="/import">import a table or the leases of a DHCP server</Link>. A policy folder brings its devices along: <code>ringfence apply -f policy/</code>. To look at a capture first, without any of this: <code>ringfence inspect FILE.pcap</code>.
      </p>
    </div>
  );
}
