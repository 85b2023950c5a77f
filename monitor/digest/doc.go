// Package digest says which bytes a process runs: the SHA-256 of its
// executable, read from the file that was executed and not from a path that may
// mean another file by now.
//
// Promise. A digest belongs to exactly the file state that the kernel showed at
// exec (event.FileID), or it is not given and a reason stands in its place.
// Nothing waits for a disk: an answer that is not known at once comes later
// through a callback, and a file system that does not answer costs its own
// files a deadline and nobody else anything.
//
// Sources, in this order: the cache; a sighting (fanotify handed over the
// executed file, also of a process that is already gone); /proc/PID/exe of the
// live process; the path hint, only when it leads to the same inode in the same
// state on the same superblock.
//
// Terms. A state is size, mtime and ctime of an inode. A state is racy while its
// ctime is so young that one more write could leave it unchanged; racy digests
// are answered and never cached. An execution is young while its file could have
// taken number and state over from another one: then sightings answer only when
// none is missing, or when the inode's generation tells. A file system is forgeable when an
// unprivileged user decides what stat says (FUSE, and overlays of other user
// namespaces, which may lie on FUSE): its files are read again for every exec.
// Device numbers are in the kernel's encoding, major<<20|minor.
//
// Owner. Hasher.mu guards the cache, sightings, flights and waiters; the pool
// and the mount table have their own mutexes and never call back under them.
package digest
