// Package bundle says where rules come from and keeps the last set that was
// good. It moves files and knows nothing of what stands in them.
//
// A Snapshot is all files of a source as they were at one moment: a reader
// never sees half of two versions. Directory reads and watches a directory; a
// Keeper holds the last good snapshot on disk, from which a daemon starts when
// the directory does not load.
package bundle
