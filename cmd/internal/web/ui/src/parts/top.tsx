// The rows that moved most, with bars.

import { bytes, count, percent, show } from "../lib/format";
import type { Row } from "../lib/types";
import { Country, Path, Text } from "./bits";
import type { Metric } from "./chart";

export const amount = (r: Row, m: Metric): number => (m === "total" ? r.sent + r.received : m === "connections" ? r.connections : r[m]);
export const amountForm = (m: Metric): ((n: number) => string) => (m === "connections" ? count : bytes);

/** Key shows the value of a field as people know it. */
export function Key({ field, value, detail }: { field: string; value: string; detail?: string | undefined }) {
  const last = field.slice(field.lastIndexOf(".") + 1);
  switch (last) {
    case "exe":
      return <Path path={value} />;
    case "country":
      return <Country code={value} />;
    case "uid":
      return detail ? <span class="clip"><bdi>{detail}</bdi> <span class="dim">{value}</span></span> : <Text s={value} />;
    case "sha256":
      return value === "" ? <Text s="" empty="not hashed" /> : <span class="clip"><span class="mono">{value.slice(0, 12)}</span> {detail && <Text s={detail} />}</span>;
    case "domain": case "sni":
      return <Text s={value} empty="no name known" />;
    case "cmdline":
      return <Text s={value} empty="no command line" mono />;
    default:
      return detail ? <span class="clip"><Text s={value} /> <span class="dim"><Text s={detail} /></span></span> : <Text s={value} />;
  }
}

/** Bar is a part of the whole, as a line below a row. */
export function Bar({ part, of }: { part: number; of: number }) {
  const width = of > 0 ? Math.max(0.6, (100 * part) / of) : 0;
  return <svg class="gauge" viewBox="0 0 100 2" preserveAspectRatio="none" aria-hidden="true" focusable="false"><rect width={width} height={2} /></svg>;
}

export function TopList({ rows, field, metric, total, href, empty }: { rows: Row[]; field: string; metric: Metric; total: number; href: (value: string) => string; empty: string }) {
  if (rows.length === 0) return <p class="note">{empty}</p>;
  const form = amountForm(metric);
  const sorted = [...rows].sort((a, b) => amount(b, metric) - amount(a, metric)).slice(0, 8);
  const most = amount(sorted[0]!, metric);
  return (
    <ol class="top">
      {sorted.map((r) => {
        const v = r.keys?.[0] ?? "";
        const n = amount(r, metric);
        return (
          <li key={(r.keys ?? []).join("\n")}>
            <a href={href(v)}>
              <span class="top-name"><Key field={field} value={v} detail={r.details?.[0]} />{r.keys?.[1] ? <span class="tag">{show(r.keys[1])}</span> : null}</span>
              {(r.denied > 0 || r.would_deny > 0) && <span class="pill bad" title={r.denied > 0 ? "denied connections" : "connections that the rules would deny"}>{count(r.denied || r.would_deny)}</span>}
              <span class="num">{form(n)}</span>
              <span class="num share">{percent(n, total)}</span>
              <Bar part={n} of={most} />
            </a>
          </li>
        );
      })}
    </ol>
  );
}
