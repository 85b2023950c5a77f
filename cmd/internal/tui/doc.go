// Package tui puts the terminal interfaces on a terminal: top, the live table,
// and browse, the history. They read the database and the control socket, need
// no root, and know nothing of the kernel.
package tui
