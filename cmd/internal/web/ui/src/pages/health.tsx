// How snitch itself does: what was watched, what was lost, and why.

import { type ComponentChildren } from "preact";
import { useData } from "../lib/data";
import { bytes, count, exact, fullTime, plural, seconds, show } from "../lib/format";
import { spanOf, usePlace } from "../lib/route";
import type { Health, Kernel, Status } from "../lib/types";
import { Card, Empty, Failure, Loaded, Text, When } from "../parts/bits";
import { Check, HealthSummary } from "../parts/healthsummary";
import { Refusal } from "../lib/data";

const Facts = ({ rows }: { rows: [string, ComponentChildren][] }) => (
  <dl class="facts">{rows.map(([n, v]) => <div class="fact" key={n}><dt>{n}</dt><dd>{v}</dd></div>)}</dl>
);

export function HealthPage() {
  const p = usePlace();
  const data = useData<Health>(`/api/health?${spanOf(p)}`);
  return (
    <Loaded data={data} rows={8}>{(h) => (
      <div class="health-page">
        <Card title="At a glance"><HealthSummary h={h} /></Card>
        <Losses h={h} />
        {h.status && <Watching s={h.status} />}
        {h.kernel && <KernelCard k={h.kernel} />}
        {h.status && <Deciding s={h.status} />}
        {h.status?.enforce && <Enforcing e={h.status.enforce} />}
        {h.status && <Resources s={h.status} />}
        {h.record && <Runs r={h.record} />}
      </div>
    )}</Loaded>
  );
}

function Losses({ h }: { h: Health }) {
  const now = Object.entries(h.status?.losses ?? {});
  const past = h.record?.losses ?? [];
  const table = (caption: string, rows: { cause: string; count: number; sent: number; received: number; last?: string }[]) => (
    <div class="scroll" tabIndex={0} role="region" aria-label={caption}>
      <table><caption>{caption}</caption><thead><tr><th class="grow">Cause</th><th class="r">Count</th><th class="r">Bytes</th>{rows.some((r) => r.last) && <th class="r">Last</th>}</tr></thead>
        <tbody>{rows.map((r) => <tr key={r.cause}><td class="grow"><Text s={r.cause} /></td><td class="r num">{exact(r.count)}</td><td class="r num">{r.sent + r.received > 0 ? bytes(r.sent + r.received) : "–"}</td>{rows.some((x) => x.last) && <td class="r"><When t={r.last} relative /></td>}</tr>)}</tbody></table>
    </div>
  );
  return (
    <Card title="Losses">
      {now.length === 0 && past.length === 0 && <Empty title="Nothing was lost."><p>What the kernel or snitch cannot keep is counted here, by cause.</p></Empty>}
      {now.length > 0 && table("Since the daemon started", now.map(([cause, l]) => ({ cause, ...l })))}
      {past.length > 0 && table("Recorded in the range", past)}
    </Card>
  );
}

function Watching({ s }: { s: Status }) {
  return (
    <Card title="Watching">
      <Facts rows={[
        ["Way of counting", show(s.tier)], ["Programs in the kernel", count((s.mechanisms ?? []).length)],
        ["Connections", `${exact(s.connections.open)} open, ${exact(s.connections.total)} since the start`],
        ["Kernel events", Object.entries(s.events).map(([k, n]) => `${count(n)} ${k}`).join(", ")],
        ["Hashing", `${count(s.digests.entries)} known, ${count(s.digests.pending)} waiting, ${bytes(s.digests.bytes)} read; fanotify ${show(s.digests.fanotify)}`],
        ["Names", `${count(s.names.addresses)} addresses; ${count(s.names.believed)} of ${count(s.names.answers)} answers believed; resolved ${show(s.names.resolved)}`],
        ["Packages", (s.packages.databases ?? []).map((d) => `${show(d.name)}: ${count(d.packages)} packages`).join(", ") || "no database read yet"],
        ["Desktops", s.desktops.enabled ? `${count(s.desktops.desks)}, ${count(s.desktops.shown)} notifications shown` : "not notified"],
      ]} />
      <details><summary>Programs in the kernel</summary>
        <div class="scroll" tabIndex={0} role="region" aria-label="Programs in the kernel"><table><thead><tr><th class="grow">For</th><th>Program</th><th>Attached at</th></tr></thead><tbody>{(s.mechanisms ?? []).map((m, i) => <tr key={i}><td class="grow">{show(m.purpose)}</td><td class="mono">{show(m.program)}</td><td class="mono">{show(m.at)}</td></tr>)}</tbody></table></div>
      </details>
    </Card>
  );
}

/** What the kernel could do when the daemon started; what it lacks comes first. */
function KernelCard({ k }: { k: Kernel }) {
  const all = k.features ?? [];
  const lacks = all.filter((f) => f.answer !== "yes");
  return (
    <Card title="Kernel">
      <Facts rows={[
        ["Release", `${show(k.kernel)}, ${show(k.machine)}`], ["Lockdown", show(k.lockdown)],
        ["Control groups", `${k.cgroup2 ? show(k.cgroup2) : "no cgroup v2"}${k.hybrid ? ", version 1 beside it" : ""}`],
        ...((k.why_not_better ?? []).length > 0 ? [["No better way", <>{k.why_not_better!.map((w) => <span class="line" key={w}>{show(w)}</span>)}</>] as [string, ComponentChildren]] : []),
        ...(k.net_class ? [["Per group", show(k.net_class)] as [string, ComponentChildren]] : []),
      ]} />
      {lacks.length > 0 ? <ul class="checks lacks">{lacks.map((f) => <Check key={f.name} tone={f.answer === "no" ? "warn" : "bad"} name={show(f.name)}>{show(f.reason)}{f.consequence && `; ${show(f.consequence)}`}</Check>)}</ul>
        : <p class="note">It can do all that snitch asks of it.</p>}
      <details><summary>{plural(all.length - lacks.length, "feature")} found</summary><p class="note">{all.filter((f) => f.answer === "yes").map((f) => show(f.name)).join(", ")}</p></details>
    </Card>
  );
}

function Deciding({ s }: { s: Status }) {
  const r = s.policy;
  return (
    <Card title="Rules">
      {r.error && <Failure error={new Refusal(`The rules do not load; ${r.last_good ? "the last good ones" : "those loaded before"} are in use.`, r.error, 0)} />}
      {(r.degraded ?? []).map((d) => <Failure key={d} error={new Refusal("Custom rules do not answer.", d, 0)} />)}
      <Facts rows={[
        ["Source", <Text s={r.source} mono />], ["Revision", <Text s={r.revision} mono />], ["Loaded", <>{fullTime(r.loaded)}, in {seconds(r.load_time)}</>],
        ["Holds", `${count(r.rules)} rules, ${count(r.confine)} confinements, ${count(r.packages)} custom packages`],
        ["Decisions", `${count(r.evaluated)} by OPA, ${count(r.cache_hits)} from the cache, ${count(r.errors)} errors; the slowest took ${seconds(r.slowest)}`],
        ["Waiting", `${count(r.waiting)} waiting, ${count(r.undecided)} never decided`],
      ]} />
    </Card>
  );
}

function Enforcing({ e }: { e: NonNullable<Status["enforce"]> }) {
  const b = e.backend;
  return (
    <Card title="Enforcement">
      {(e.problem || b?.problem) && <Failure error={new Refusal(e.problem || b!.problem!, undefined, 0)} />}
      <Facts rows={[
        ["Mode", `${show(e.mode)}, from ${show(e.source)}`],
        ["Without snitch", e.fail_closed ? "closed: what is not known is denied" : "open: all is allowed"],
        ["Held packets", `for at most ${seconds(e.hold_for)}, then ${show(e.hold_then)}`],
        ...(e.armed ? [["Confirmation", `rolled back in ${seconds(e.left ?? 0)} unless confirmed`] as [string, ComponentChildren]] : []),
        ...(b ? [["By", `${show(b.name)}, generation ${exact(b.generation)}, ${count(b.entries)} entries`], ["Denied", `${exact(b.denied)} connections, ${exact(b.held)} held, ${exact(b.expired)} not answered in time, ${exact(b.lost)} lost`]] as [string, ComponentChildren][] : []),
        ["Never locked out", (e.protected ?? []).map((x) => show(x.id)).join(", ") || "no rules were added"],
      ]} />
    </Card>
  );
}

function Resources({ s }: { s: Status }) {
  return (
    <Card title="Record and memory">
      {s.database.last_error && <Failure error={new Refusal("The last write failed.", s.database.last_error, 0)} />}
      <Facts rows={[
        ["File", <Text s={s.database.path} mono />], ["Size", `${bytes(s.database.bytes)}, ${exact(s.database.rows)} rows`],
        ["Oldest", fullTime(s.database.oldest)], ["Waiting", `${count(s.database.pending)} to be written, ${count(s.database.lost)} lost`],
        ["Memory", `${bytes(s.memory.pss || s.memory.rss)} core, ${bytes(s.memory.broker_pss || s.memory.broker_rss)} broker`],
        ["Live clients", `${count(s.live.clients)}, ${count(s.live.lost)} messages lost`],
        ["Broker", s.broker.alive ? `pid ${s.broker.pid}, runs ${(s.broker.helpers ?? []).join(", ") || "no helper"}` : "gone: no helper can be started until snitch is restarted"],
      ]} />
    </Card>
  );
}

function Runs({ r }: { r: NonNullable<Health["record"]> }) {
  const gaps = r.gaps ?? [];
  return (
    <Card title="Runs and gaps">
      {gaps.length > 0 && <p class="note">Between two runs nothing was watched.</p>}
      <div class="scroll" tabIndex={0} role="region" aria-label="Runs">
        <table><thead><tr><th>Started</th><th>Ended</th><th class="wide-only">Version</th><th class="wide-only">Tier</th><th>How</th></tr></thead>
          <tbody>{(r.runs ?? []).slice(0, 20).map((x) => {
            const running = !x.stopped || x.stopped.startsWith("0001") || x.stopped.startsWith("1970-01-01T00:00:00");
            return <tr key={x.id}><td><When t={x.started} /></td><td>{running ? "runs" : <When t={x.stopped} />}</td><td class="wide-only">{show(x.version)}</td><td class="wide-only">{show(x.tier)}</td><td>{running ? <span class="pill good">running</span> : x.clean ? <span class="dim">in order</span> : <span class="pill warn">ended early</span>}</td></tr>;
          })}</tbody></table>
      </div>
      {gaps.length > 0 && <details><summary>{plural(gaps.length, "gap")} in this range</summary><ul class="versions">{gaps.slice(0, 50).map((g) => <li key={g.from}><When t={g.from} /> – <When t={g.to} /> <span class="dim">{seconds((new Date(g.to).getTime() - new Date(g.from).getTime()) / 1000)}{g.reboot ? ", reboot" : ""}{g.crash ? ", ended early" : ""}</span></li>)}</ul></details>}
    </Card>
  );
}
