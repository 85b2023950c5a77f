// Package queue holds packets: it reads one NFQUEUE of a network namespace, asks
// a function about each packet, and gives the kernel the answer.
//
// Promise. Every packet is answered, at the latest at the deadline with the
// configured default; an answer that comes later is counted and dropped. A
// packet that is denied is sent through its chain again with a mark, where a
// rule rejects it, so that its program learns at once. What does not fit the
// queue passes or is dropped as the fail mode says, and is counted.
//
// Terms. Held is a packet that the kernel waits with. Late is a decision after
// the deadline. A queue has one reader; a second Open of its number fails.
// Packets come from the network: their bytes are parsed as hostile.
package queue
