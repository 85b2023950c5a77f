package schema

// version2 adds what policy needs: the facts that rules read, so that a
// decision can be made again, and what policy keeps.
//
// The big table only gets columns at its end, which costs nothing; the indexes
// that are built anew are those of interned tables, which are small.
const version2 = `
ALTER TABLE executable ADD COLUMN package TEXT NOT NULL DEFAULT '';
DROP INDEX executable_key;
CREATE UNIQUE INDEX executable_key ON executable (path, view, kind, reason, ifnull(sha256, x''), package);

ALTER TABLE script ADD COLUMN view TEXT NOT NULL DEFAULT '';
DROP INDEX script_key;
CREATE UNIQUE INDEX script_key ON script (path, view, reason, ifnull(sha256, x''));

ALTER TABLE context ADD COLUMN user INTEGER REFERENCES text;
DROP INDEX context_key;
CREATE UNIQUE INDEX context_key ON context (uid, netns, cgroup, ifnull(user, 0));

ALTER TABLE process ADD COLUMN context INTEGER REFERENCES context;
DROP INDEX process_key;
CREATE UNIQUE INDEX process_key ON process (ifnull(parent, 0), executable, name, cmdline, ifnull(script, 0), ifnull(context, 0));

ALTER TABLE decision ADD COLUMN reason INTEGER REFERENCES text;
ALTER TABLE decision ADD COLUMN position INTEGER REFERENCES text;
ALTER TABLE decision ADD COLUMN error INTEGER REFERENCES text;
ALTER TABLE decision ADD COLUMN previous INTEGER REFERENCES decision;
ALTER TABLE decision ADD COLUMN capped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decision ADD COLUMN provisional INTEGER NOT NULL DEFAULT 0;
DROP INDEX decision_key;
CREATE UNIQUE INDEX decision_key ON decision (action, would, mode, rule, matches, revision,
  ifnull(reason, 0), ifnull(position, 0), ifnull(error, 0), ifnull(previous, 0), capped, provisional);

ALTER TABLE connection ADD COLUMN names INTEGER REFERENCES list;
ALTER TABLE connection ADD COLUMN input INTEGER;
ALTER TABLE connection ADD COLUMN decided INTEGER;

-- a file of rules, compressed with gzip; many sets share one
CREATE TABLE rulefile (
  id     INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  size   INTEGER NOT NULL,
  data   BLOB NOT NULL
) STRICT;

CREATE TABLE ruleset (
  id       INTEGER PRIMARY KEY,
  revision TEXT NOT NULL,
  digest   BLOB NOT NULL,
  first    INTEGER NOT NULL, -- loaded
  last     INTEGER NOT NULL,
  UNIQUE (revision, digest)
) STRICT;

CREATE TABLE ruleset_file (
  ruleset  INTEGER NOT NULL REFERENCES ruleset,
  path     TEXT NOT NULL,
  rulefile INTEGER NOT NULL REFERENCES rulefile,
  PRIMARY KEY (ruleset, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE rule_count (
  rule        TEXT PRIMARY KEY,
  hits        INTEGER NOT NULL,
  wins        INTEGER NOT NULL,
  would_deny  INTEGER NOT NULL,
  would_alert INTEGER NOT NULL,
  denied      INTEGER NOT NULL,
  last        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE alert (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  kind          INTEGER NOT NULL,
  rule          TEXT NOT NULL,
  program       TEXT NOT NULL,
  parent        TEXT NOT NULL,
  state         INTEGER NOT NULL,
  action        TEXT NOT NULL,
  reason        TEXT NOT NULL,
  first         INTEGER NOT NULL,
  last          INTEGER NOT NULL,
  count         INTEGER NOT NULL,
  exe           TEXT NOT NULL,
  exe_view      TEXT NOT NULL,
  sha256        TEXT NOT NULL,
  cmdline       TEXT NOT NULL,
  parent_exe    TEXT NOT NULL,
  parent_view   TEXT NOT NULL,
  parent_sha256 TEXT NOT NULL,
  pid           INTEGER NOT NULL,
  uid           INTEGER NOT NULL,
  user          TEXT NOT NULL,
  direction     TEXT NOT NULL,
  proto         TEXT NOT NULL,
  peer          TEXT NOT NULL,
  domain        TEXT NOT NULL,
  opened        INTEGER NOT NULL,
  UNIQUE (rule, program, parent, kind)
) STRICT;
CREATE INDEX alert_last ON alert (last);

-- what was seen before, for novelty; key and program are keyed hashes
CREATE TABLE known (
  program INTEGER NOT NULL,
  key     INTEGER NOT NULL,
  kind    INTEGER NOT NULL,
  first   INTEGER NOT NULL,
  PRIMARY KEY (program, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO setting (name, value) VALUES ('known_salt', randomblob(32));
`
