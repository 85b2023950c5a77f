package schema

// version3 lets the interfaces tell, for each value of a dimension, how many
// connections were denied or would have been, and when a program was recorded
// first. Sums and programs from before have no such numbers: 0.
const version3 = `
ALTER TABLE rollup ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollup ADD COLUMN would_deny INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executable ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
`
