package geoip

import (
	_ "embed" // the table of countries
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

//go:embed country.mmdb
var countries []byte

// Place is where an address is, as far as it is known.
type Place struct {
	Scope   string `json:"scope,omitempty"`   // why it is in no country: "private", "loopback", …
	Country string `json:"country,omitempty"` // ISO 3166-1 alpha-2
	City    string `json:"city,omitempty"`    // English name; hostile text
	ASN     uint32 `json:"asn,omitempty"`     // number of the network
	Network string `json:"network,omitempty"` // its name; hostile text
}

// DB looks addresses up.
type DB struct {
	dir    string
	log    *slog.Logger
	scopes scopes

	set       atomic.Pointer[set]
	refreshMu sync.Mutex // one refresh at a time
}

// set is what is open at one time. It is never changed. Its files stay mapped
// until nobody uses them: the reader's finalizer sees to it.
type set struct {
	country, city, asn *file
}

// file is one open file.
type file struct {
	path   string // "" for the one in the binary
	info   os.FileInfo
	reader *maxminddb.Reader
	// countries remembers what the records of the file say: there are only some
	// hundred, and decoding one costs more than finding it.
	countries sync.Map // uintptr → string
}

// Open opens the table of the binary and what is installed in dir, which may
// be missing, or "" for none. A file there that is no table is left away, and
// said so in the log; Sources has the error too.
func Open(dir string, log *slog.Logger) (*DB, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	reader, err := maxminddb.OpenBytes(countries)
	if err != nil {
		return nil, fmt.Errorf("open table of countries: %w", err)
	}
	db := &DB{dir: dir, log: log, scopes: special()}
	db.set.Store(&set{country: &file{reader: reader}})
	db.Refresh()
	return db, nil
}

// Refresh opens files that were installed, replaced or removed since. Look-ups
// go on meanwhile.
func (db *DB) Refresh() {
	if db.dir == "" {
		return
	}
	db.refreshMu.Lock()
	defer db.refreshMu.Unlock()
	old := db.set.Load()
	next := &set{country: db.current(KindCountry, old.country), city: db.current(KindCity, old.city), asn: db.current(KindASN, old.asn)}
	if next.country == nil {
		if reader, err := maxminddb.OpenBytes(countries); err == nil { // it was opened before
			next.country = &file{reader: reader}
		}
	}
	db.set.Store(next)
}

// current is the file that is there now: the one that is open, if it is that,
// or nil.
func (db *DB) current(kind Kind, open *file) *file {
	path := filepath.Join(db.dir, kind.FileName())
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if open != nil && open.path == "" {
			return open
		}
		return nil
	}
	if err == nil && open != nil && open.path == path && os.SameFile(open.info, info) && open.info.ModTime().Equal(info.ModTime()) {
		return open
	}
	if err == nil {
		var f *file
		if f, err = openFile(path); err == nil {
			return f
		}
	}
	db.log.Warn("a table of places cannot be used", "path", path, "error", err)
	if open != nil && open.path == "" {
		return open
	}
	return nil
}

// openFile maps a file. It may be replaced by another, as Install does, but
// never changed.
func openFile(path string) (*file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxFile {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", path, MaxFile)
	}
	reader, err := maxminddb.Open(path)
	if err != nil {
		return nil, err
	}
	return &file{path: path, info: info, reader: reader}, nil
}

// record is the part of all layouts that is used.
type record struct {
	Code    string `maxminddb:"country_code"`
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Registered struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"registered_country"`
}

// Country is the country of a, "" when it is in none or not known.
func (db *DB) Country(a netip.Addr) string {
	a = embedded(a)
	if !a.IsValid() || db.scopes.of(a) != "" {
		return ""
	}
	s := db.set.Load()
	code := ""
	if s.city != nil && !s.country.installed() {
		code = s.city.country(a)
	}
	if code == "" {
		code = s.country.country(a)
	}
	return code
}

// Scope names the special range that holds a, "" for an address of the world.
func (db *DB) Scope(a netip.Addr) string { return db.scopes.of(embedded(a)) }

// Place is all that is known of a.
func (db *DB) Place(a netip.Addr) Place {
	a = embedded(a)
	p := Place{Scope: db.scopes.of(a)}
	if p.Scope != "" || !a.IsValid() {
		return p
	}
	p.Country = db.Country(a)
	s := db.set.Load()
	if s.city != nil {
		p.City = s.city.cityName(a)
	}
	if s.asn != nil {
		p.ASN, p.Network = s.asn.network(a)
	}
	return p
}

func (f *file) installed() bool { return f.path != "" }

// country looks a up. What a broken file answers is no country.
func (f *file) country(a netip.Addr) string {
	defer runtime.KeepAlive(f.reader) // or its file might be unmapped before the end
	found := f.reader.Lookup(a)
	if !found.Found() {
		return ""
	}
	if code, ok := f.countries.Load(found.Offset()); ok {
		return code.(string)
	}
	var r record
	if err := found.Decode(&r); err != nil {
		return ""
	}
	code := ""
	for _, c := range []string{r.Code, r.Country.Code, r.Registered.Code} {
		if code = asCountry(c); code != "" {
			break
		}
	}
	if f.path == "" || f.small() {
		f.countries.Store(found.Offset(), code)
	}
	return code
}

// small says that the file has few different records: one for each city would
// fill the memory.
func (f *file) small() bool { return f.info.Size() < 32<<20 }

// asCountry is s if it is a country's code: two letters that are not
// user-assigned for "unknown".
func asCountry(s string) string {
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' || s == "ZZ" || s == "XX" || s == "AP" || s == "EU" {
		return ""
	}
	return s
}

func (f *file) cityName(a netip.Addr) string {
	defer runtime.KeepAlive(f.reader)
	var r struct {
		Name string `maxminddb:"city"`
	}
	var nested struct {
		City struct {
			Names struct {
				English string `maxminddb:"en"`
			} `maxminddb:"names"`
		} `maxminddb:"city"`
	}
	found := f.reader.Lookup(a)
	if err := found.Decode(&nested); err == nil && nested.City.Names.English != "" {
		return nested.City.Names.English
	}
	if err := found.Decode(&r); err == nil {
		return r.Name
	}
	return ""
}

func (f *file) network(a netip.Addr) (asn uint32, name string) {
	defer runtime.KeepAlive(f.reader)
	var r struct {
		Number uint32 `maxminddb:"autonomous_system_number"`
		Name   string `maxminddb:"autonomous_system_organization"`
	}
	if err := f.reader.Lookup(a).Decode(&r); err != nil {
		return 0, ""
	}
	return r.Number, r.Name
}

// Source is a table in use.
type Source struct {
	Kind  Kind      `json:"kind"`
	Path  string    `json:"path"` // "" for the one in the binary
	Type  string    `json:"type"` // as it names itself; hostile text
	Built time.Time `json:"built"`
	// Credit must be shown where the table is used, "" when the licence asks
	// for none; CreditURL is where it leads to.
	Credit    string `json:"credit,omitempty"`
	CreditURL string `json:"credit_url,omitempty"`
}

// Sources lists the tables in use.
func (db *DB) Sources() []Source {
	s := db.set.Load()
	var out []Source
	for _, f := range []struct {
		kind Kind
		file *file
	}{{KindCountry, s.country}, {KindCity, s.city}, {KindASN, s.asn}} {
		if f.file == nil {
			continue
		}
		m := f.file.reader.Metadata
		src := Source{Kind: f.kind, Path: f.file.path, Type: m.DatabaseType, Built: m.BuildTime().UTC()}
		src.Credit, src.CreditURL = credit(m.DatabaseType)
		if src.Path == "" {
			src.Type = "IPtoASN country"
		}
		out = append(out, src)
	}
	return out
}
