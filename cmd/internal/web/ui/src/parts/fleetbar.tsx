// What the record of several hosts is made of.

import { useData } from "../lib/data";
import { is } from "../lib/filter";
import { count, fullTime, show } from "../lib/format";
import { to, usePlace } from "../lib/route";
import type { Fleet } from "../lib/types";
import { When } from "./bits";

const silentAfter = 60 * 60 * 1000;

/** FleetBar says whose record this is, how old it is, and who has gone silent. */
export function FleetBar() {
  const p = usePlace();
  const v = useData<Fleet>("/api/fleet").value;
  if (!v) return null;
  const hosts = v.hosts ?? [];
  const never = (t: string): boolean => t.startsWith("0001");
  const silent = hosts.filter((h) => Date.now() - new Date(h.last).getTime() > silentAfter);
  return (
    <p class="note fleet-bar">
      {count(hosts.length)} host{hosts.length === 1 ? "" : "s"} by {show(v.server)}, since {fullTime(v.since)}, {never(v.read) ? "still being read" : <>read <When t={v.read} relative /></>}.
      {v.problem ? <> <span class="bad">It does not answer now: {show(v.problem)}</span></> : null}
      {silent.length > 0 && <> Silent for an hour or longer: {silent.slice(0, 20).map((h, i) => (
        <span key={h.name}>{i > 0 && ", "}<a href={to(p, "/explore", { by: "exe", f: is("host", h.name) })}>{show(h.name)}</a></span>
      ))}{silent.length > 20 && ` and ${silent.length - 20} more`}.</>}
    </p>
  );
}
