package schema

// version6 names the host of what a record of several hosts has: the fleet view
// puts rows of a remote server into a file of this shape. A host's own record
// leaves it NULL.
const version6 = `
ALTER TABLE context ADD COLUMN host INTEGER REFERENCES text;
DROP INDEX context_key;
CREATE UNIQUE INDEX context_key ON context (uid, netns, cgroup, ifnull(user, 0), ifnull(host, 0));
`
