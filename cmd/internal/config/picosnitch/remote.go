package picosnitch

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// passwordFile is the file of the server's password, beside the key of VirusTotal.
const passwordFile = "remote-password"

// schemes are what its clients of SQL are called here.
var schemes = map[string]string{"mariadb": "mariadb", "mysql": "mariadb", "pymysql": "mariadb", "psycopg": "postgres", "psycopg2": "postgres", "postgresql": "postgres"}

// remoteWords are the names of connection parameters, which picosnitch passes on
// to its client as they are.
var remoteWords = map[string]string{"host": "host", "port": "port", "user": "user", "username": "user", "database": "database", "db": "database", "dbname": "database",
	"password": "password", "passwd": "password", "unix_socket": "socket", "ssl_ca": "remote.ca_file", "sslrootcert": "remote.ca_file",
	"ssl_cert": "remote.cert_file", "sslcert": "remote.cert_file", "ssl_key": "remote.key_file", "sslkey": "remote.key_file"}

// remote takes over where the server is, and as whom to go there; all of it or
// nothing.
func (c *converter) remote(v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is no table", shown(v))
	}
	if len(m) == 0 {
		return nil
	}
	before := *c.config
	if err := c.server(m); err != nil {
		*c.config = before
		return err
	}
	return nil
}

func (c *converter) server(m map[string]any) error {
	client, _ := m["client"].(string)
	scheme, known := schemes[client]
	if !known {
		return errors.New("its client is none of mariadb, pymysql, psycopg: no server is set up")
	}
	words := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		to, known := remoteWords[name]
		text, err := asText(m[name])
		switch {
		case name == "client":
		case name == "table_name":
			c.note("table_name: tables have names of their own here")
		case !known:
			c.note("%.80q of the server is not imported", name)
		case err != nil:
			return fmt.Errorf("%s of the server is neither a text nor a whole number", name)
		default:
			words[to] = text
		}
	}
	if err := c.config.Set("remote.url", address(scheme, words)); err != nil {
		return err
	}
	for _, path := range []string{"remote.ca_file", "remote.cert_file", "remote.key_file"} {
		if words[path] == "" {
			continue
		}
		if err := c.config.Set(path, words[path]); err != nil {
			return err
		}
	}
	if words["socket"] == "" && words["remote.ca_file"] == "" {
		c.note("the connection has to be encrypted here, with a certificate that the system trusts; else set `remote.ca_file`")
	}
	c.note("its tables are others: 'snitch remote schema' prints them, 'snitch remote check' tries them; only new rows go there")
	return c.password(words["password"])
}

// address is where the server is, as remote.url has it.
func address(scheme string, words map[string]string) string {
	u := url.URL{Scheme: scheme, User: url.User(words["user"]), Path: "/" + words["database"]}
	switch host, port := words["host"], words["port"]; {
	case words["socket"] != "":
		u.RawQuery = url.Values{"socket": {words["socket"]}}.Encode()
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}
	return u.String()
}

func (c *converter) password(s string) error {
	if s == "" {
		return nil
	}
	if strings.ContainsAny(s, "\r\n\x00") {
		return errors.New("the password of the server is more than one line")
	}
	file := filepath.Join(filepath.Dir(c.keyFile), passwordFile)
	if err := c.config.Set("remote.password_file", file); err != nil {
		return err
	}
	c.result.Secrets = append(c.result.Secrets, Secret{"the password of the SQL server", file, s})
	return nil
}
