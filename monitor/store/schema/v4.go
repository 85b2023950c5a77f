package schema

// version4 finds the few connections that lived long and ended after a time,
// without looking at all that ever lived long: the number is LongConnection.
const version4 = `
CREATE INDEX connection_ended ON connection (opened + last) WHERE last > 600000000000;
`
