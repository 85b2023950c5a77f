// The frame around the pages: where one is, the range, the keys.

import { type ComponentType, render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Tick, useData } from "./lib/data";
import { fleet } from "./lib/fleet";
import { useKeys } from "./lib/keys";
import { here, onLink, onMove, type Place, PlaceContext, to } from "./lib/route";
import type { Alerts, Credit } from "./lib/types";
import { AlertsPage } from "./pages/alerts";
import { ExplorePage } from "./pages/explore";
import { HealthPage } from "./pages/health";
import { LivePage } from "./pages/live";
import { OverviewPage } from "./pages/overview";
import { PolicyPage } from "./pages/policy";
import { Button, Toasts } from "./parts/bits";
import { FleetBar } from "./parts/fleetbar";
import { Help } from "./parts/help";
import { Icon, type IconName, Mark } from "./parts/icons";
import { isFixed, RangePicker, step } from "./parts/range";
import { choose, chosen, ThemeContext, useTheme } from "./parts/theme";

interface Room {
  path: string;
  name: string;
  icon: IconName;
  key: string;
  page: ComponentType;
  ranged: boolean;
}

const all: readonly Room[] = [
  { path: "/", name: "Overview", icon: "overview", key: "o", page: OverviewPage, ranged: true },
  { path: "/explore", name: "Explore", icon: "explore", key: "e", page: ExplorePage, ranged: true },
  { path: "/live", name: "Live", icon: "live", key: "l", page: LivePage, ranged: false },
  { path: "/alerts", name: "Alerts", icon: "alerts", key: "a", page: AlertsPage, ranged: false },
  { path: "/policy", name: "Policy", icon: "policy", key: "p", page: PolicyPage, ranged: true },
  { path: "/health", name: "Health", icon: "health", key: "h", page: HealthPage, ranged: true },
];

/** rooms are the pages: of a fleet those that need no daemon. */
export const rooms = fleet ? all.filter((r) => r.path === "/" || r.path === "/explore") : all;

const intervals = [["0", "Off"], ["5", "5 s"], ["30", "30 s"], ["300", "5 min"]] as const;

function usePlaceNow(): Place {
  const [place, set] = useState(here());
  useEffect(() => onMove(() => set(here())), []);
  return place;
}

/** useTick counts up in an interval, while the page is seen and its range goes on. */
function useTick(every: number, fixed: boolean): [number, () => void] {
  const [tick, set] = useState(0);
  useEffect(() => {
    if (every === 0 || fixed) return;
    const t = setInterval(() => { if (!document.hidden) set((n) => n + 1); }, every * 1000);
    return () => clearInterval(t);
  }, [every, fixed]);
  return [tick, () => set((n) => n + 1)];
}

const byKey = new Map(rooms.map((r) => [r.key, r.path]));

function App() {
  const place = usePlaceNow();
  const theme = useTheme();
  const [every, setEvery] = useState(Number(localStorage.getItem("refresh") ?? "30"));
  const [tick, refresh] = useTick(every, isFixed(place));
  const [help, setHelp] = useState(false);
  const room = rooms.find((r) => r.path === place.path) ?? rooms[0]!;
  useKeys(place.path, { rooms: byKey, help: () => setHelp(true), refresh, step: (forward) => { if (room.ranged) step(here(), forward); } });
  useEffect(() => { document.title = `${room.name} · snitch`; }, [room]);
  useEffect(() => {
    addEventListener("click", onLink);
    return () => removeEventListener("click", onLink);
  }, []);
  return (
    <PlaceContext.Provider value={place}><ThemeContext.Provider value={theme}><Tick.Provider value={tick}>
      <a class="skip" href="#main">Skip to the content</a>
      <div class="frame">
        <Rail place={place} room={room} onHelp={() => setHelp(true)} />
        <div class="page">
          <header class="bar">
            <h1>{room.name}</h1>
            <div class="bar-tools">
              {room.ranged && <RangePicker />}
              <div class="refresh">
                <Button icon="refresh" label="Refresh" keys="r" bare onClick={refresh} />
                <label><span class="sr">Refresh by itself</span><select value={String(every)} onChange={(e) => { localStorage.setItem("refresh", e.currentTarget.value); setEvery(Number(e.currentTarget.value)); }}>{intervals.map(([v, t]) => <option value={v} key={v}>{t}</option>)}</select></label>
              </div>
            </div>
          </header>
          {fleet && <FleetBar />}
          <main id="main" tabIndex={-1}><room.page key={room.path} /></main>
          <Credits />
          <div class="page-foot"><Services onHelp={() => setHelp(true)} /></div>
        </div>
      </div>
      <Toasts />
      {help && <Help onClose={() => setHelp(false)} />}
    </Tick.Provider></ThemeContext.Provider></PlaceContext.Provider>
  );
}

function Rail({ place, room, onHelp }: { place: Place; room: Room; onHelp: () => void }) {
  const alerts = useData<Alerts>(fleet ? "" : "/api/alerts?state=new&limit=1");
  useEffect(() => {
    addEventListener("snitch-alerts", alerts.again);
    return () => removeEventListener("snitch-alerts", alerts.again);
  }, []);
  const fresh = alerts.value?.sums.new ?? 0;
  return (
    <nav class="rail" aria-label="Pages">
      <a class="brand" href={to(place, "/")} aria-label="snitch, overview"><Mark /><span>snitch</span></a>
      <ul>
        {rooms.map((r) => (
          <li key={r.path}>
            <a href={to(place, r.path)} aria-current={r === room ? "page" : undefined} title={`${r.name} (g ${r.key})`}>
              <Icon name={r.icon} /><span class="rail-name">{r.name}</span>
              {r.path === "/alerts" && fresh > 0 && <span class="badge" aria-label={`${fresh} new`}>{fresh > 999 ? "999+" : fresh}</span>}
            </a>
          </li>
        ))}
      </ul>
      <div class="rail-foot"><Services onHelp={onHelp} /></div>
    </nav>
  );
}

/** Services stand below the pages' names, on a phone at the page's end. */
function Services({ onHelp }: { onHelp: () => void }) {
  return (
    <>
      <ThemeButton />
      <Button icon="help" label="Help" keys="?" bare kind="quiet" onClick={onHelp} />
      {document.documentElement.dataset["peer"] === undefined && <Button icon="out" label="Sign out" bare kind="quiet" onClick={() => { void fetch("/api/signout", { method: "POST" }).then(() => location.assign("/")); }} />}
    </>
  );
}

/** What the licences of installed tables of places want to be shown. */
function Credits() {
  const d = useData<Credit[]>("/api/credits", false);
  const list = d.value ?? [];
  if (list.length === 0) return null;
  return <footer class="credits">{list.map((c) => <a key={c.text} href={c.url} target="_blank" rel="noreferrer noopener">{c.text}</a>)}</footer>;
}

function ThemeButton() {
  useTheme();
  const [now, set] = useState(chosen());
  const next = { auto: "light", light: "dark", dark: "auto" } as const;
  const words = { auto: "Colours as the system has them", light: "Light colours", dark: "Dark colours" } as const;
  const icons = { auto: "auto", light: "sun", dark: "moon" } as const;
  return <Button icon={icons[now]} label={`${words[now]}; change`} bare kind="quiet" onClick={() => { choose(next[now]); set(next[now]); }} />;
}

render(<App />, document.getElementById("app")!);
