package schema

// version5 adds what waits to leave the host: it is written with the rows that
// it tells of, in one transaction, and removed when it has arrived.
const version5 = `
CREATE TABLE outbox (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  key      BLOB NOT NULL UNIQUE,
  time     INTEGER NOT NULL,
  rows     INTEGER NOT NULL,
  sent     INTEGER NOT NULL,
  received INTEGER NOT NULL,
  data     BLOB NOT NULL
) STRICT;
`
