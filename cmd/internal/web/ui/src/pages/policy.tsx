// The rules in use, what they did, and what others would have done.

import { Fragment } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useData } from "../lib/data";
import { is } from "../lib/filter";
import { count, plural, show } from "../lib/format";
import { changed, go, to, usePlace } from "../lib/route";
import type { PolicyPage as Page, RuleEntry } from "../lib/types";
import { Button, Copy, Empty, Failure, Loaded, Segments, Text, Verdict, When } from "../parts/bits";
import { Refusal } from "../lib/data";
import { TryPanel } from "../parts/try";

const shows = [["all", "All"], ["hit", "Hit"], ["dead", "Never hit"], ["deny", "Deny"], ["alert", "Alert"], ["allow", "Allow"], ["audit", "Audit"]] as const;
type Which = (typeof shows)[number][0];

function wanted(e: RuleEntry, which: string): boolean {
  switch (which) {
    case "hit": return e.hits > 0;
    case "dead": return e.dead;
    case "audit": return e.mode === "audit";
    case "deny": case "alert": case "allow": return e.action === which;
    default: return true;
  }
}

export function PolicyPage() {
  const p = usePlace();
  const data = useData<Page>("/api/policy");
  const trying = p.params.get("try") === "1";
  const which = (p.params.get("show") ?? "all") as Which;
  const rule = p.params.get("rule");
  const find = (p.params.get("find") ?? "").toLowerCase();
  return (
    <div class="policy-page">
      <div class="toolbar">
        <Segments label="Which rules" value={which} options={shows} onPick={(w) => go(changed(p, { show: w === "all" ? null : w, rule: null }))} />
        <label class="find-rows">Find<input id="find" type="search" value={p.params.get("find") ?? ""} placeholder="id or text" onInput={(e) => go(changed(p, { find: e.currentTarget.value || null, rule: null }), true)} /></label>
        <Button icon="play" label="Try rules against history" kind="primary" onClick={() => go(changed(p, { try: trying ? null : "1" }))} pressed={trying} />
      </div>
      {trying && <TryPanel current={data.value} />}
      <Loaded data={data} rows={8}>{(v) => {
        const list = v.entries.filter((e) => (rule ? e.id === rule : wanted(e, which)) && (find === "" || `${e.id}\n${e.text}\n${e.reason}`.toLowerCase().includes(find)));
        return (
          <>
            <Facts v={v} />
            {v.problem && <Failure error={new Refusal(v.problem, undefined, 0)} />}
            {rule && <p class="note">Only rule <Text s={rule} mono />. <a href={changed(p, { rule: null })}>Show all</a></p>}
            <section class="card flush" aria-label="Rules">
              {list.length === 0 ? <Empty title={v.entries.length === 0 ? "There are no rules." : "No rule is like that."}>{v.entries.length === 0 && <p>Put YAML files into the directory of rules, or begin with what was recorded: <span class="mono">snitch policy learn</span>.</p>}</Empty>
                : <RuleTable list={list} open={rule ?? ""} />}
            </section>
          </>
        );
      }}</Loaded>
    </div>
  );
}

function Facts({ v }: { v: Page }) {
  const dead = v.entries.filter((e) => e.dead).length;
  const would = v.entries.reduce((s, e) => s + e.would_deny, 0);
  return (
    <p class="facts-line">
      <span><strong class="num">{count(v.entries.filter((e) => e.kind !== "gone").length)}</strong> rules</span>
      <span><strong class="num">{count(dead)}</strong> never hit</span>
      <span><strong class="num">{count(would)}</strong> would have been denied</span>
      {v.source && <span class="dim">from <Text s={v.source} mono /></span>}
      {v.revision && <span class="dim">revision <Text s={v.revision} mono /></span>}
      {v.since && <span class="dim">counted since <When t={v.since} /></span>}
    </p>
  );
}

function RuleTable({ list, open }: { list: RuleEntry[]; open: string }) {
  const [shown, set] = useState(open);
  useEffect(() => set(open), [open]);
  const p = usePlace();
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Table of rules">
      <table class="rules">
        <thead><tr><th class="grow">Rule</th><th>Says</th><th class="r">Hits</th><th class="r roomy">Decided</th><th class="r wide-only">Would deny</th><th class="r wide-only">Denied</th><th class="r roomy">Last hit</th></tr></thead>
        <tbody>{list.map((e) => {
          const is_ = shown === e.id;
          return (
            <Fragment key={e.id}>
              <tr class={`${is_ ? "open" : ""}${e.dead ? " dead" : ""}`} onClick={() => set(is_ ? "" : e.id)}>
                <td class="grow"><button type="button" class="row-open" aria-expanded={is_} onClick={(x) => { x.stopPropagation(); set(is_ ? "" : e.id); }}><span class="rule-id"><Text s={e.id} /></span>{e.reason && <span class="dim clip"><bdi>{show(e.reason)}</bdi></span>}</button></td>
                <td><Verdict word={e.action || e.kind} />{e.kind === "confine" && <span class="tag">confine</span>}{e.mode === "audit" && <span class="tag">audit</span>}{e.kind === "gone" && <span class="tag">no more in use</span>}</td>
                <td class="r num">{e.dead ? <span class="pill plain">never</span> : count(e.hits)}</td>
                <td class="r num roomy">{count(e.wins)}</td>
                <td class="r num wide-only">{e.would_deny > 0 ? <span class="pill warn">{count(e.would_deny)}</span> : "0"}</td>
                <td class="r num wide-only">{e.denied > 0 ? <span class="pill bad">{count(e.denied)}</span> : "0"}</td>
                <td class="r roomy"><When t={e.last} relative /></td>
              </tr>
              {is_ && <tr class="detail"><td colSpan={7}>
                {e.text !== "" && <><p class="note mono">{show(e.file)}:{e.line}</p><pre class="code" tabIndex={0}>{e.text.split("\n").map(show).join("\n")}</pre></>}
                <div class="actions">
                  <a class="button quiet" href={to(p, "/explore", { by: "exe", f: is("rule", e.id) })}>Connections that it decided</a>
                  <a class="button quiet" href={to(p, "/explore", { by: "exe", f: is("matches", e.id) })}>Connections that it matched</a>
                  {e.text !== "" && <Copy text={e.text} label="Copy the text" />}
                </div>
              </td></tr>}
            </Fragment>
          );
        })}</tbody>
      </table>
      {list.length > 8 && <p class="note pad">{plural(list.length, "rule")}</p>}
    </div>
  );
}
