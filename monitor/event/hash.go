package event

// HashRequest names the file whose digest is wanted: the one that process ID
// executed.
type HashRequest struct {
	ID   ProcessID
	File FileID // as the kernel saw it at exec; zero when the exec was not seen
	Path string // where the file was last known to be: a hint, never the identity
	Boot uint64 // CLOCK_BOOTTIME of the exec, ns; 0: not known, then ID.Start bounds it from below
}

// HashResult is the answer to a HashRequest. SHA256 is zero unless Reason is
// HashKnown. An answer HashPending is followed by one other answer, and an
// answer HashDeadline by a last one whenever the file system gives it after all.
type HashResult struct {
	SHA256 Digest
	Reason HashReason
	// Path is what readlink of the hashed descriptor showed, a deleted suffix
	// left as it was; "" when no descriptor was open. From the cache it is the
	// path of the descriptor that was read then: a hard link of the file, or a
	// directory renamed since, shows another one.
	Path  string
	Links uint64 // st_nlink of the hashed descriptor when Path was read, 0 when deleted or a memfd; valid when Path is set
}
