package schema

// Dim is what a rollup row adds up over. Each dimension is added up on its
// own: one table over all of them together was 18 times larger and slower.
type Dim uint8

// Dimensions; the numbers are stored.
const (
	DimInvalid    Dim = 0
	DimTotal      Dim = 1  // key 0
	DimExecutable Dim = 2  // executable.id, 0: the process is unknown
	DimParent     Dim = 3  // executable.id of the parent, 0: none
	DimName       Dim = 4  // text.id of the process name, 0: none
	DimUID        Dim = 5  // user id
	DimDomain     Dim = 6  // domain.id, 0: none
	DimAddress    Dim = 7  // address.id of the remote side, 0: none
	DimPort       Dim = 8  // ServiceKey
	DimCountry    Dim = 9  // text.id, 0: unknown
	DimCgroup     Dim = 10 // cgroup.id
	DimRule       Dim = 11 // text.id of the winning rule, 0: none
	DimAction     Dim = 12 // event.Action
)

var dimNames = [...]string{"invalid", "total", "exe", "parent.exe", "name", "uid", "domain", "raddr",
	"port", "country", "cgroup", "rule", "action"}

// Dims lists every dimension that is added up.
func Dims() []Dim {
	out := make([]Dim, 0, len(dimNames)-1)
	for i := 1; i < len(dimNames); i++ {
		out = append(out, Dim(i))
	}
	return out
}

// String is the name that commands take.
func (d Dim) String() string {
	if int(d) >= len(dimNames) {
		return "invalid"
	}
	return dimNames[d]
}

// KeyTable names the interned table that the keys of d point into, "" for
// dimensions whose key is the value itself.
func (d Dim) KeyTable() string {
	switch d {
	case DimExecutable, DimParent:
		return "executable"
	case DimName, DimCountry, DimRule:
		return "text"
	case DimDomain:
		return "domain"
	case DimAddress:
		return "address"
	case DimCgroup:
		return "cgroup"
	}
	return ""
}

// ServiceKey is the key of DimPort: the protocol and the port of the service,
// which is the local one when the peer began.
func ServiceKey(family, proto, port uint16) int64 {
	return int64(family)<<32 | int64(proto)<<16 | int64(port)
}

// SplitServiceKey undoes ServiceKey.
func SplitServiceKey(key int64) (family, proto, port uint16) {
	return uint16(key >> 32), uint16(key >> 16), uint16(key)
}

// Resolution is the width of a rollup's bucket.
type Resolution uint8

// Resolutions; the numbers are stored.
const (
	Minute Resolution = 0
	Hour   Resolution = 1
	Day    Resolution = 2
)

// Seconds is the width of a bucket; rollup.bucket is the Unix time of its
// start, a multiple of it (days are days of UTC).
func (r Resolution) Seconds() int64 {
	switch r {
	case Minute:
		return 60
	case Hour:
		return 3600
	}
	return 86400
}
