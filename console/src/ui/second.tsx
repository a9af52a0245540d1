// A change that concerns very many takes a second person. Until that one has answered nothing is changed; then whoever asked carries it out.

import { ask, type Approval } from "../api/client";
import { Link } from "../lib/route";
import { exact } from "../lib/time";
import { Notice } from "./kit";

const TITLES: Record<string, string> = {
  pending: "A second person has to approve this",
  approved: "Approved: it can be carried out",
  rejected: "Rejected",
  expired: "Nobody approved it in time",
  concluded: "It was carried out already",
};

export function Second({ approval }: { approval: Approval }) {
  const tone = approval.state === "approved" ? "good" : approval.state === "pending" ? "note" : "none";
  return (
    <Notice tone={tone} title={TITLES[approval.state] ?? approval.state} alert>
      {approval.state === "pending" && (
        <p className="inline">
          Nothing is changed yet. Somebody else with the role {approval.needs} approves it until {exact(approval.expires_at)}, under <Link to={`/waiting/${approval.id}`}>Waiting</Link> or with <code>ringfence approve {approval.id}</code>.
        </p>
      )}
      {approval.state === "approved" && <p>It is carried out once, with this approval, until {exact(approval.expires_at)}.</p>}
      {(approval.state === "rejected" || approval.state === "expired") && <p>Nothing was changed. It can be asked for again.</p>}
    </Notice>
  );
}

/** An approval as it is now. */
export async function lookAt(approval: Approval): Promise<Approval> {
  return (await approvals()).find((one) => one.id === approval.id) ?? approval;
}

export async function approvals(signal?: AbortSignal): Promise<Approval[]> {
  const all: Approval[] = [];
  let page: string | undefined;
  do {
    const { body } = await ask("get", "/v1/approvals", { query: { limit: 1000, ...(page ? { page } : {}) }, signal });
    all.push(...(body.items as Approval[]));
    page = body.next ?? undefined;
  } while (page);
  return all;
}
