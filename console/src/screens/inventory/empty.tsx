// Nothing to show: because there is nothing yet, or because nothing is so.

import { useEffect, useState } from "react";
import { ask, type Schemas } from "../../api/client";
import { Button } from "../../ui/kit";

export function Empty({ l, onAll }: { l: string; onAll: () => void }) {
  const [sites, setSites] = useState<Schemas["Site"][] | null>(null);
  useEffect(() => {
    if (l) return;
    ask("get", "/v1/sites", { query: { limit: 10 } })
      .then(({ body }) => setSites(body.items as Schemas["Site"][]))
      .catch(() => setSites([]));
  }, [l]);
  if (l) {
    return (
      <div className="empty">
        <h2>No device is so</h2>
        <p>
          The selector <code>{l}</code> was understood, and selects nothing.
        </p>
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
        A policy folder brings its devices along: <code>ringfence apply -f policy/</code>. To look at a capture first, without any of this: <code>ringfence inspect FILE.pcap</code>.
      </p>
    </div>
  );
}
