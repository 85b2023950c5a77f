// The newest connections, on the overview.

import { to, usePlace } from "../lib/route";
import { useLive } from "../lib/live";
import { bytes } from "../lib/format";
import { Card, Empty, Path, When } from "./bits";
import { Peer, VerdictOf } from "./connection";

export function LiveDot({ on }: { on: boolean }) {
  return <span class={on ? "dot on" : "dot"} role="img" aria-label={on ? "connected" : "not connected"} />;
}

export function LiveStrip() {
  const p = usePlace();
  const live = useLive([], 9, false);
  return (
    <Card title="Live" extra={<a class="more" href={to(p, "/live")}><LiveDot on={live.state.connected} /> Watch</a>}>
      {live.rows.length === 0
        ? <Empty title={live.state.connected ? "Nobody talks right now." : "No live data."}>{!live.state.connected && <p>{live.state.why ?? "Waiting for the daemon."}</p>}</Empty>
        : <ul class="strip">{live.rows.map((m) => (
          <li key={`${m.id}/${m.record.time}`}>
            <span class="dim num"><When t={m.record.time} /></span>
            <Path path={m.record.exe || m.record.name} view={m.record.exe_view} />
            <Peer c={m.record} />
            <span class="num r wide-only">{bytes(m.record.received + m.record.sent)}</span>
            <VerdictOf c={m.record} />
          </li>
        ))}</ul>}
    </Card>
  );
}
