// Package house holds no code: its tests keep the tree in order (who may
// import whom, what stands at the top level, who may skip).
package house
