// What the server answers (cmd/internal/web/api, monitor/store/query,
// monitor/event). Every string in it was written by a stranger.

export interface Row {
  keys?: string[];
  details?: string[];
  connections: number;
  sent: number;
  received: number;
  denied: number;
  would_deny: number;
  first?: string;
  last?: string;
}

export interface Groups {
  by: string[];
  rows: Row[] | null;
  total: Row;
  count: number;
  more: boolean;
  basis: "moved" | "connections";
  since?: string;
  until?: string;
}

export interface Line {
  key: string;
  detail?: string;
  other?: boolean;
  sent: number[];
  received: number[];
  connections: number[];
}

export interface Series {
  by?: string;
  basis: string;
  width: number;
  times: string[] | null;
  lines: Line[] | null;
}

export interface KPIs {
  connections: number;
  sent: number;
  received: number;
  programs: number;
  destinations: number;
  new_programs: number;
  denied: number;
  would_deny: number;
  alerts: number;
  losses: number;
}

export interface Overview {
  since: string;
  until: string;
  now: KPIs;
  before: KPIs | null;
  programs: Row[] | null;
  destinations: Row[] | null;
  users: Row[] | null;
  countries: Row[] | null;
  alerts: Alert[];
}

export interface Alert {
  id: number;
  kind: string;
  state: string;
  rule: string;
  action: string;
  reason: string;
  first: string;
  last: string;
  count: number;
  exe: string;
  exe_view?: string;
  sha256: string;
  cmdline: string;
  parent_exe: string;
  pid: number;
  uid: number;
  user: string;
  direction: string;
  proto: string;
  peer: string;
  domain: string;
  opened: string;
}

export interface Alerts {
  rows: Alert[];
  more: boolean;
  sums: { new: number; seen: number; resolved: number };
}

export interface Ancestor {
  exe: string;
  exe_view?: string;
  exe_kind: string;
  name: string;
  cmdline: string;
  sha256: string;
  sha256_reason?: string;
  package?: string;
}

export interface Conn extends Ancestor {
  time: string;
  last: string;
  action: string;
  would: string;
  rule: string;
  matches: string[] | null;
  mode: string;
  revision: string;
  reason?: string;
  position?: string;
  pid: number;
  parent: Ancestor | null;
  grandparent: Ancestor | null;
  ancestors?: Ancestor[];
  host?: string;
  uid: number;
  user: string;
  container: string;
  cgroup: string;
  unit: string;
  script: string;
  netns: number;
  direction: string;
  family: string;
  proto: string;
  laddr: string;
  lport: number;
  raddr: string;
  rport: number;
  domain: string;
  domain_source: string;
  domain_age: number;
  sni?: string;
  country: string;
  sent: number;
  received: number;
  packets: number;
  result: string;
  existing?: boolean;
  novelty: string[] | null;
}

export interface Conns {
  rows: Conn[];
  more: boolean;
}

export interface Fleet {
  server: string;
  since: string;
  read: string;
  rows: number;
  hosts: { name: string; last: string }[] | null;
  problem?: string;
}

export interface Field {
  name: string;
  help: string;
  group: boolean;
}

export interface Program {
  id: number;
  path: string;
  view?: string;
  kind: string;
  sha256: string;
  sha256_reason?: string;
  package?: string;
  first: string;
  last: string;
  connections: number;
  sent: number;
  received: number;
}

export interface Step {
  id: number;
  exe: string;
  view?: string;
  name: string;
  sha256: string;
}

export interface ProgramDetail extends Program {
  hashes: Program[] | null;
  same_paths: Program[] | null;
  lineages: { ancestors: Step[] | null; cut?: boolean }[] | null;
  names: string[] | null;
  cmdlines: string[] | null;
  scripts: string[] | null;
}

export interface Why {
  text: string;
  revision: string;
  then: boolean;
}

export interface Draft {
  text: string;
  file: string;
}

export interface RuleEntry {
  id: string;
  kind: string;
  action: string;
  mode: string;
  reason: string;
  expires?: string;
  file: string;
  line: number;
  text: string;
  hits: number;
  wins: number;
  would_deny: number;
  would_alert: number;
  denied: number;
  last: string;
  dead: boolean;
}

export interface PolicyPage {
  revision: string;
  loaded?: string;
  source: string;
  files: { path: string; text: string }[];
  entries: RuleEntry[];
  problem?: string;
  since?: string;
}

export interface Sums {
  connections: number;
  sent: number;
  received: number;
}

export interface Group extends Sums {
  program: string;
  destination: string;
  before: string;
  after: string;
  rule_before: string;
  rule_after: string;
}

export interface Report {
  rows: Sums;
  same: Sums;
  newly_denied: Group[] | null;
  newly_alerting: Group[] | null;
  newly_allowed: Group[] | null;
  by_another_rule: Group[] | null;
  undecidable: (Sums & { cause: string })[] | null;
}

export interface Trial {
  faults: string[];
  rules: { id: string; what: string; how: string; keys: string[] | null; at: string }[];
  report: Report | null;
  took: number;
}

export interface Place {
  scope?: string;
  country?: string;
  city?: string;
  asn?: number;
  network?: string;
}

export interface Reputation {
  verdict: "" | "clean" | "suspicious" | "malicious" | "not-found" | "uploaded";
  malicious: number;
  suspicious: number;
  engines: number;
  at: string;
  off?: string;
}

export interface Credit {
  text: string;
  url: string;
}

export interface Problem {
  error: string;
  hint?: string;
}

export interface Loss {
  count: number;
  sent: number;
  received: number;
}

export interface Status {
  running: boolean;
  version: string;
  pid: number;
  state: string;
  started: string;
  uptime: number;
  mode: string;
  tier: string;
  mechanisms: { purpose: string; program: string; at: string }[] | null;
  events: Record<string, number>;
  losses: Record<string, Loss> | null;
  connections: { total: number; open: number; sent: number; received: number };
  processes: number;
  digests: { entries: number; pending: number; hits: number; misses: number; bytes: number; fanotify: string };
  names: { addresses: number; answers: number; believed: number; hellos: number; resolved: string };
  packages: { databases: { name: string; packages: number; files: number; bytes: number }[] | null; asked: number; dropped: number; failed: number };
  database: { path: string; bytes: number; rows: number; pending: number; lost: number; oldest?: string; last_write?: string; last_error?: string };
  memory: { rss: number; pss: number; broker_rss: number; broker_pss: number };
  live: { clients: number; lost: number };
  broker: { pid: number; alive: boolean; helpers: string[] | null; starts: number; failed: number };
  policy: {
    source: string; revision: string; loaded?: string; load_time: number; rules: number; confine: number; last_good: boolean; error?: string;
    packages: number; degraded?: string[]; evaluated: number; errors: number; cache_hits: number; cached: number; waiting: number; undecided: number; slowest: number;
  };
  desktops: { enabled: boolean; desks: number; alerts: number; shown: number; dropped: number; failed: number };
  enforce?: {
    mode: string; source: string; since?: string; by?: string; armed: boolean; deadline?: string; left?: number; fail: string; fail_closed: boolean;
    hold_for: number; hold_then: string; protect_ssh: boolean; problem?: string; protected: { id: string; reason: string }[] | null;
    backend: null | { name: string; mode: string; generation: number; revision: string; hooks: string[] | null; hold: string; entries: number; denied: number; held: number; expired: number; waiting: number; lost: number; problem?: string };
  };
}

export interface Kernel {
  tier: string;
  why_not_better: string[] | null;
  kernel: string;
  machine: string;
  lockdown: string;
  cgroup2: string;
  hybrid: boolean;
  net_class: string;
  features: { name: string; answer: "yes" | "no" | "unknown"; reason: string; consequence: string }[] | null;
}

export interface Health {
  status: Status | null;
  daemon: Problem | null;
  kernel: Kernel | null;
  record: null | {
    bytes: number; rows: number; execs: number; oldest?: string; newest?: string;
    runs: { id: number; started: string; stopped: string; clean: boolean; version: string; tier: string }[] | null;
    gaps: { from: string; to: string; crash: boolean; reboot: boolean }[] | null;
    losses: { cause: string; count: number; sent: number; received: number; last: string }[] | null;
    alerts: { new: number; seen: number; resolved: number };
  };
  problem: Problem | null;
}

export interface LiveMessage {
  id: number;
  closed?: boolean;
  record: Conn;
}

export interface World {
  width: number;
  height: number;
  paths: Record<string, string>;
  dots: Record<string, [number, number]>;
}
