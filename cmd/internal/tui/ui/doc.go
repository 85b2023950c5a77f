// Package ui is what the terminal interfaces are made of: styles, lines of
// aligned cells, a table that draws only the rows that are seen, a prompt, key
// maps with their help, and the units of bytes.
//
// Every text goes through Theme.Line, which cleans it: nothing that a process,
// the network or a file named can move the cursor, change a colour or take
// other cells than those given to it.
//
// A terminal interface runs in one goroutine, to which all values here belong.
package ui
