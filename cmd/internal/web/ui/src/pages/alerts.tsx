// What a person should know, and what they did about it.

import { useEffect, useState } from "preact/hooks";
import { post, useData } from "../lib/data";
import { is } from "../lib/filter";
import { count, fullTime, plural, show } from "../lib/format";
import { changed, go, to, usePlace } from "../lib/route";
import type { Alert, Alerts } from "../lib/types";
import { Button, Empty, Loaded, Path, Segments, Text, useAction, Verdict, When } from "../parts/bits";
import { Icon } from "../parts/icons";
import { DraftDialog, WhyDialog } from "../parts/rules";

const kinds: Record<string, string> = { error: "snitch has a problem", config: "rules or configuration do not load", rule: "no rule speaks of it", novelty: "something new" };

export function AlertsPage() {
  const p = usePlace();
  const id = p.params.get("id");
  const state = p.params.get("state") ?? (id ? "all" : "new");
  const text = p.params.get("text") ?? "";
  const [typed, setTyped] = useState(text);
  const [picked, setPicked] = useState<ReadonlySet<number>>(new Set());
  const query = new URLSearchParams({ state, limit: "200" });
  if (text) query.set("text", text);
  if (id) query.set("id", id);
  const data = useData<Alerts>(`/api/alerts?${query}`);
  const [busy, act] = useAction();
  useEffect(() => setPicked(new Set()), [state, text]);
  const set = (ids: number[], to: string): void => act(async () => {
    await post("/api/alerts", { ids, state: to });
    setPicked(new Set());
    data.again();
    dispatchEvent(new Event("snitch-alerts"));
    return `${plural(ids.length, "alert")} ${to === "seen" ? "acknowledged" : to}.`;
  });
  const sums = data.value?.sums;
  const tab = (name: string, n?: number) => <>{name}{n !== undefined && n > 0 && <span class="tab-count">{count(n)}</span>}</>;
  return (
    <div class="alerts-page">
      <div class="toolbar">
        <Segments label="Which alerts" value={state} options={[["new", tab("New", sums?.new)], ["seen", tab("Acknowledged", sums?.seen)], ["resolved", tab("Resolved", sums?.resolved)], ["all", "All"]]}
          onPick={(s) => go(changed(p, { state: s === "new" ? null : s, id: null }))} />
        <form class="find-rows" role="search" onSubmit={(e) => { e.preventDefault(); go(changed(p, { text: typed || null })); }}>
          <label>Find<input id="find" type="search" value={typed} placeholder="rule, program, user, domain" onInput={(e) => setTyped(e.currentTarget.value)} /></label>
        </form>
        {picked.size > 0 && <div class="actions"><span class="num">{plural(picked.size, "alert")}</span>
          <Button icon="check" label="Acknowledge" onClick={() => set([...picked], "seen")} disabled={busy} kind="primary" />
          <Button label="Resolve" onClick={() => set([...picked], "resolved")} disabled={busy} /></div>}
        {id && <Button label="All alerts" onClick={() => go(changed(p, { id: null }))} />}
      </div>
      <Loaded data={data} rows={6}>{(a) => a.rows.length === 0
        ? <section class="card"><NoAlerts state={state} text={text} /></section>
        : <ul class="alerts">{a.rows.map((x) => <AlertCard key={x.id} a={x} open={String(x.id) === id} busy={busy} picked={picked.has(x.id)}
          onPick={(on) => { const s = new Set(picked); if (on) s.add(x.id); else s.delete(x.id); setPicked(s); }} onSet={(s) => set([x.id], s)} />)}</ul>}</Loaded>
      {data.value?.more && <p class="note">These are the last 200. Search to see others.</p>}
    </div>
  );
}

function NoAlerts({ state, text }: { state: string; text: string }) {
  if (text) return <Empty title="No alert matches." />;
  if (state !== "new") return <Empty title="None." />;
  return <Empty title="Nothing new."><p>Alerts come from rules with <span class="mono">action: alert</span> or <span class="mono">deny</span>, from connections that no rule speaks of, and from snitch itself when something does not work. See which rules hold: <a href="/policy">Policy</a>.</p></Empty>;
}

function AlertCard({ a, open, busy, picked, onPick, onSet }: { a: Alert; open: boolean; busy: boolean; picked: boolean; onPick: (on: boolean) => void; onSet: (state: string) => void }) {
  const p = usePlace();
  const [more, setMore] = useState(open);
  const [dialog, setDialog] = useState<"" | "why" | "draft">("");
  const about = a.kind === "rule" || a.kind === "novelty";
  const keys = (e: KeyboardEvent): void => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "x") onPick(!picked);
    else if (e.key === "e") onSet("seen");
    else return;
    e.preventDefault();
  };
  return (
    <li class={`alert card ${a.action === "deny" ? "bad" : a.kind === "error" || a.kind === "config" ? "bad" : "warn"} ${a.state}`}>
      <div class="alert-row">
        <input type="checkbox" checked={picked} aria-label={`Pick alert ${a.id}`} onChange={(e) => onPick(e.currentTarget.checked)} />
        <button type="button" class="alert-open" aria-expanded={more} onClick={() => setMore(!more)} onKeyDown={keys}>
          <span class="alert-head"><Verdict word={a.action || a.kind} /><strong class="clip"><bdi>{show(a.rule || kinds[a.kind] || a.kind)}</bdi></strong>{a.state !== "new" && <span class="pill plain">{a.state === "seen" ? "acknowledged" : a.state}</span>}</span>
          {a.reason !== "" && <span class="alert-reason">{a.reason.split("\n").map(show).join("\n")}</span>}
          {about && <span class="alert-who"><Path path={a.exe} view={a.exe_view} />{a.parent_exe !== "" && <span class="dim clip">by <bdi>{show(a.parent_exe.slice(a.parent_exe.lastIndexOf("/") + 1))}</bdi></span>}
            <span class="dim">{show(a.user || String(a.uid))}</span>{(a.domain || a.peer) && <span class="clip">{a.direction === "in" ? "←" : a.direction === "listen" ? "●" : "→"} <bdi>{show(a.domain || a.peer)}</bdi></span>}</span>}
        </button>
        <div class="alert-when"><When t={a.last} relative />{a.count > 1 && <span class="dim num">{count(a.count)} times</span>}</div>
        <div class="actions">
          {a.state !== "seen" && <Button icon="check" label="Acknowledge" onClick={() => onSet("seen")} disabled={busy} />}
          {a.state !== "resolved" && <Button label="Resolve" onClick={() => onSet("resolved")} disabled={busy} kind="quiet" />}
          {a.state === "resolved" && <Button label="Open again" onClick={() => onSet("new")} disabled={busy} kind="quiet" />}
        </div>
      </div>
      {more && (
        <div class="alert-more">
          <dl class="facts">
            <div class="fact"><dt>First</dt><dd>{fullTime(a.first)}</dd></div>
            <div class="fact"><dt>Last</dt><dd>{fullTime(a.last)}, {plural(a.count, "time")}</dd></div>
            {a.peer !== "" && <div class="fact"><dt>Peer</dt><dd><span class="mono">{show(a.peer)}</span> {a.domain && <Text s={a.domain} />} <span class="dim">{show(a.proto)}</span></dd></div>}
            {about && <div class="fact"><dt>Program</dt><dd class="mono wrap">{show(a.exe)}</dd></div>}
            {a.sha256 !== "" && <div class="fact"><dt>SHA-256</dt><dd class="mono wrap">{a.sha256}</dd></div>}
            {a.cmdline !== "" && <div class="fact"><dt>Command line</dt><dd class="mono wrap">{show(a.cmdline)}</dd></div>}
            {a.parent_exe !== "" && <div class="fact"><dt>Started by</dt><dd class="mono wrap">{show(a.parent_exe)}</dd></div>}
          </dl>
          {about && <div class="actions">
            <Button icon="help" label="Why?" onClick={() => setDialog("why")} />
            <Button icon="policy" label="Draft a rule" onClick={() => setDialog("draft")} />
            <a class="button quiet" href={to(p, "/explore", { by: "domain", f: is("exe", a.exe), last: "all", since: null, until: null })}><Icon name="explore" size={18} />All of this program</a>
            {a.rule && <a class="button quiet" href={to(p, "/policy", { rule: a.rule })}><Icon name="policy" size={18} />The rule</a>}
          </div>}
        </div>
      )}
      {dialog === "why" && <WhyDialog query={`alert=${a.id}`} title={`Why: ${a.rule || "no rule matched"}`} onClose={() => setDialog("")} />}
      {dialog === "draft" && <DraftDialog query={`alert=${a.id}`} onClose={() => setDialog("")} />}
    </li>
  );
}
