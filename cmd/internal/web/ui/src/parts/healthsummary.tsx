// How snitch does, in a few lines.

import { type ComponentChildren } from "preact";
import { bytes, count, plural, seconds, show } from "../lib/format";
import type { Health } from "../lib/types";
import { When } from "./bits";

type Tone = "good" | "warn" | "bad";

export function Check({ tone, name, children }: { tone: Tone; name: string; children: ComponentChildren }) {
  const words: Record<Tone, string> = { good: "in order", warn: "look at this", bad: "wrong" };
  return <li class={`check ${tone}`}><i aria-hidden="true" /><span class="sr">{words[tone]}: </span><span class="check-name">{name}</span><span class="check-text">{children}</span></li>;
}

/** lossesOf counts what the record lacks; what a live page was too slow for, it has. */
export const lossesOf = (h: Health): number => Object.entries(h.status?.losses ?? {}).reduce((s, [cause, l]) => (cause === "live" ? s : s + l.count), 0);

export function HealthSummary({ h }: { h: Health }) {
  const s = h.status;
  const lost = lossesOf(h);
  return (
    <ul class="checks">
      {s ? <Check tone="good" name="Daemon">runs for {seconds(s.uptime)}, version {show(s.version)}</Check>
        : <Check tone="bad" name="Daemon">{h.daemon?.error} {h.daemon?.hint}</Check>}
      {s && <Check tone="good" name="Watching">{show(s.tier)}, {plural(s.connections.open, "open connection")}, {count(s.processes)} processes known</Check>}
      {s && <Check tone={lost > 0 ? "warn" : "good"} name="Losses">{lost > 0 ? `${count(lost)} events were lost since the start` : "none since the start"}</Check>}
      {s && <Check tone={s.policy.error ? "bad" : (s.policy.degraded?.length ?? 0) > 0 ? "warn" : "good"} name="Rules">{s.policy.error ? "do not load: the ones before are in use" : `${plural(s.policy.rules, "rule")}, ${show(s.mode)} mode`}</Check>}
      {s?.enforce?.backend && <Check tone={s.enforce.problem || s.enforce.backend.problem ? "bad" : "good"} name="Fail mode">{s.enforce.fail_closed ? "closed: without snitch, what is not known is denied" : "open: without snitch, all is allowed"}</Check>}
      {h.record ? <Check tone={s?.database.last_error ? "bad" : "good"} name="Record">{bytes(h.record.bytes)}, {plural(h.record.rows, "connection")} since <When t={h.record.oldest} /></Check>
        : <Check tone="bad" name="Record">{h.problem?.error} {h.problem?.hint}</Check>}
    </ul>
  );
}
