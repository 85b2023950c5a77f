package schema

// version7 keeps rows of connection a second time, column by column: a question
// about millions of them reads a few columns of these, at a tenth of the cost.
const version7 = `
-- the rows that were opened in [first, until), but for those that are loose
CREATE TABLE block (
  id    INTEGER PRIMARY KEY AUTOINCREMENT,
  first INTEGER NOT NULL UNIQUE,
  until INTEGER NOT NULL,
  ended INTEGER NOT NULL, -- the latest time at which one of them was active
  rows  INTEGER NOT NULL
) STRICT;

CREATE TABLE block_column (
  id   INTEGER PRIMARY KEY, -- block * 32 + number of the column
  data BLOB NOT NULL
) STRICT;

-- rows opened at these times changed after their block was made, or still may:
-- the block does not count for them
CREATE TABLE block_loose (opened INTEGER PRIMARY KEY) STRICT;
`
