package schema

// version1 is the schema of the first release.
//
// Names that repeat are interned: a row of connection holds numbers only.
// References are declared, and tests check them, but the writer does not
// enforce them: that would cost a look-up per column and row. The big tables
// are WITHOUT ROWID in order of time, so that a range of time is one scan and
// needs no index beside the table.
const version1 = `
CREATE TABLE run (
  id      INTEGER PRIMARY KEY,
  started INTEGER NOT NULL,
  stopped INTEGER,
  clean   INTEGER NOT NULL DEFAULT 0,
  version TEXT NOT NULL,
  tier    TEXT NOT NULL,
  boot    TEXT NOT NULL
) STRICT;

CREATE TABLE text (
  id    INTEGER PRIMARY KEY,
  hash  INTEGER NOT NULL,
  value TEXT NOT NULL
) STRICT;
CREATE INDEX text_hash ON text (hash);

CREATE TABLE domain (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE address (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE list (id INTEGER PRIMARY KEY, items TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE executable (
  id     INTEGER PRIMARY KEY,
  path   TEXT NOT NULL,
  view   TEXT NOT NULL,
  kind   INTEGER NOT NULL,
  sha256 BLOB,
  reason INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX executable_key ON executable (path, view, kind, reason, ifnull(sha256, x''));
CREATE INDEX executable_sha256 ON executable (sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE script (
  id     INTEGER PRIMARY KEY,
  path   TEXT NOT NULL,
  sha256 BLOB,
  reason INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX script_key ON script (path, reason, ifnull(sha256, x''));

CREATE TABLE process (
  id         INTEGER PRIMARY KEY,
  parent     INTEGER REFERENCES process,
  executable INTEGER NOT NULL REFERENCES executable,
  name       INTEGER NOT NULL REFERENCES text,
  cmdline    INTEGER NOT NULL REFERENCES text,
  script     INTEGER REFERENCES script
) STRICT;
CREATE UNIQUE INDEX process_key ON process (ifnull(parent, 0), executable, name, cmdline, ifnull(script, 0));
CREATE INDEX process_executable ON process (executable);

CREATE TABLE cgroup (
  id        INTEGER PRIMARY KEY,
  path      TEXT NOT NULL,
  unit      TEXT NOT NULL,
  container TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX cgroup_key ON cgroup (path, unit, container);

CREATE TABLE context (
  id     INTEGER PRIMARY KEY,
  uid    INTEGER NOT NULL,
  netns  INTEGER NOT NULL,
  cgroup INTEGER NOT NULL REFERENCES cgroup
) STRICT;
CREATE UNIQUE INDEX context_key ON context (uid, netns, cgroup);

CREATE TABLE decision (
  id       INTEGER PRIMARY KEY,
  action   INTEGER NOT NULL,
  would    INTEGER NOT NULL,
  mode     INTEGER NOT NULL,
  rule     INTEGER NOT NULL REFERENCES text,
  matches  INTEGER NOT NULL REFERENCES list,
  revision INTEGER NOT NULL REFERENCES text
) STRICT;
CREATE UNIQUE INDEX decision_key ON decision (action, would, mode, rule, matches, revision);

CREATE TABLE connection (
  opened        INTEGER NOT NULL,
  run           INTEGER NOT NULL REFERENCES run,
  id            INTEGER NOT NULL,
  last          INTEGER,
  process       INTEGER REFERENCES process,
  pid           INTEGER NOT NULL,
  context       INTEGER NOT NULL REFERENCES context,
  direction     INTEGER NOT NULL,
  family        INTEGER NOT NULL,
  proto         INTEGER NOT NULL,
  laddr         INTEGER REFERENCES address,
  lport         INTEGER NOT NULL,
  raddr         INTEGER REFERENCES address,
  rport         INTEGER NOT NULL,
  domain        INTEGER REFERENCES domain,
  domain_source INTEGER NOT NULL,
  domain_age    INTEGER,
  sni           INTEGER REFERENCES domain,
  country       INTEGER REFERENCES text,
  sent          INTEGER NOT NULL,
  received      INTEGER NOT NULL,
  packets       INTEGER NOT NULL,
  result        INTEGER NOT NULL,
  closed        INTEGER NOT NULL,
  existing      INTEGER NOT NULL,
  decision      INTEGER NOT NULL REFERENCES decision,
  novelty       INTEGER REFERENCES list,
  PRIMARY KEY (opened, run, id)
) STRICT, WITHOUT ROWID;
-- last is the time since opened; these few are what a scan from a time on
-- would miss because they began long before (LongConnection)
CREATE INDEX connection_long ON connection (opened) WHERE last > 600000000000;

CREATE TABLE exec_log (
  time    INTEGER NOT NULL,
  run     INTEGER NOT NULL REFERENCES run,
  id      INTEGER NOT NULL,
  process INTEGER NOT NULL REFERENCES process,
  pid     INTEGER NOT NULL,
  context INTEGER NOT NULL REFERENCES context,
  PRIMARY KEY (time, run, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE loss (
  time     INTEGER NOT NULL,
  run      INTEGER NOT NULL REFERENCES run,
  id       INTEGER NOT NULL,
  cause    INTEGER NOT NULL,
  count    INTEGER NOT NULL,
  sent     INTEGER NOT NULL,
  received INTEGER NOT NULL,
  process  INTEGER REFERENCES process,
  detail   TEXT NOT NULL,
  PRIMARY KEY (time, run, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
  id       INTEGER PRIMARY KEY,
  time     INTEGER NOT NULL,
  run      INTEGER NOT NULL REFERENCES run,
  inserted INTEGER NOT NULL,
  updated  INTEGER NOT NULL,
  execs    INTEGER NOT NULL,
  sent     INTEGER NOT NULL,
  received INTEGER NOT NULL
) STRICT;

CREATE TABLE rollup (
  dim         INTEGER NOT NULL,
  res         INTEGER NOT NULL,
  bucket      INTEGER NOT NULL,
  key         INTEGER NOT NULL,
  sent        INTEGER NOT NULL,
  received    INTEGER NOT NULL,
  connections INTEGER NOT NULL,
  PRIMARY KEY (dim, res, bucket, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_state (
  res    INTEGER PRIMARY KEY,
  folded INTEGER NOT NULL
) STRICT;
INSERT INTO rollup_state (res, folded) VALUES (1, 0), (2, 0);

CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('connection', 0), ('exec_log', 0);
`
