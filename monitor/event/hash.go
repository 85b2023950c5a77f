package event

// HashRequest names the file whose digest is wanted: the one that process ID
// executed.
type HashRequest struct {
	ID   ProcessID
	File FileID // as the kernel saw it at exec; zero when the exec was not seen
	Path string // where the file was last known to be: a hint, never the identity
}

// HashResult is the answer to a HashRequest. SHA256 is zero unless Reason is
// HashKnown.
type HashResult struct {
	SHA256 Digest
	Reason HashReason
	// Path is what readlink of the hashed descriptor showed, a deleted suffix
	// left as it was; "" when no descriptor was open.
	Path  string
	Links uint64 // st_nlink of the hashed descriptor, 0 when deleted or a memfd; valid when Path is set
}
