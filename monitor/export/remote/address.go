package remote

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// Address is where a server is and who enters. It holds no secret.
type Address struct {
	Dialect  string `json:"dialect"` // postgres or mysql
	User     string `json:"user"`
	Database string `json:"database"`
	Host     string `json:"host,omitempty"` // name or address; "" with Socket
	Port     uint16 `json:"port,omitempty"`
	// Socket is a unix socket: of MariaDB the socket, of PostgreSQL the directory
	// in which it is.
	Socket string `json:"socket,omitempty"`
}

// Access is an Address with all that entering needs. Certificates and keys are
// PEM.
type Access struct {
	Address
	Password string `json:"password,omitempty"`
	Plain    bool   `json:"plain,omitempty"` // no TLS; always so on a unix socket
	CA       []byte `json:"ca,omitempty"`    // nil: the roots of the system
	Cert     []byte `json:"cert,omitempty"`
	Key      []byte `json:"key,omitempty"`
}

// String is the address for people.
func (a *Address) String() string {
	where := a.Socket
	if where == "" {
		where = net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
	}
	return fmt.Sprintf("%s on %s, database %s as %s", a.Dialect, where, a.Database, a.User)
}

// ParseAddress reads postgres://USER@HOST[:PORT]/DATABASE, mariadb:// or
// mysql:// likewise; with a unix socket postgres://USER@/DATABASE?socket=PATH. A
// password does not belong there: addresses are shown.
func ParseAddress(s string) (Address, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Address{}, errors.New("is no address like postgres://snitch@db.example.net/snitch") // err would quote it
	}
	a := Address{}
	switch u.Scheme {
	case "postgres", "postgresql":
		a.Dialect, a.Port = postgresDialect, 5432
	case "mysql", "mariadb":
		a.Dialect, a.Port = mysqlDialect, 3306
	default:
		return a, fmt.Errorf("begins with %q: write postgres://, mariadb:// or mysql://", u.Scheme)
	}
	if _, set := u.User.Password(); set {
		return a, errors.New("holds a password, which belongs into a file of its own (remote.password_file)")
	}
	a.User, a.Database, a.Host = u.User.Username(), strings.TrimPrefix(u.Path, "/"), u.Hostname()
	return a, a.rest(u)
}

func (a *Address) rest(u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("has a query that is none")
	}
	a.Socket = query.Get("socket")
	query.Del("socket")
	for key := range query {
		return fmt.Errorf("has an unknown parameter %q: only socket is known", key)
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("has %q where a port belongs", p)
		}
		a.Port = uint16(n)
	}
	switch {
	case a.User == "":
		return errors.New("names no user: write USER@ before the host")
	case a.Database == "" || strings.Contains(a.Database, "/"):
		return errors.New("names no database: write /DATABASE after the host")
	case strings.ContainsRune(a.User+a.Database+a.Host+a.Socket, 0):
		return errors.New("holds a NUL")
	case u.Fragment != "":
		return errors.New("has a fragment: write %23 for #")
	case a.Socket != "" && (a.Host != "" || !filepath.IsAbs(a.Socket)):
		return errors.New("names a socket: its path is absolute, and there is no host beside it")
	case a.Socket == "" && a.Host == "":
		return errors.New("names neither a host nor a socket")
	}
	if a.Socket != "" && a.Dialect == mysqlDialect {
		a.Port = 0
	}
	return nil
}
