package servertest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Names of dialects, as the package under test has them.
const (
	Postgres = "postgres"
	MariaDB  = "mysql"
)

// startWithin bounds a start on a machine that is far too busy.
const startWithin = 2 * time.Minute

// nobody is who servers run as: both refuse root.
const nobody = 65534

// Server is one server. It is not safe for concurrent use.
type Server struct {
	Dialect string
	Socket  string // of MariaDB; of PostgreSQL its directory
	Port    uint16 // on 127.0.0.1 and ::1, by TLS as "localhost"
	CA      []byte // PEM, that signed the certificate of the server
	Client  Pair   // a certificate that CA signed, for a client

	dir    string
	cmd    *exec.Cmd     // nil: none was started, or it was killed
	exited chan struct{} // closed at its end
	log    *os.File
}

// Pair is a certificate and its key in PEM.
type Pair struct{ Cert, Key []byte }

// Start makes a server and starts it; it ends with the test.
func Start(t testing.TB, dialect string) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "sql")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Dialect: dialect, dir: dir, Port: freePort(t)}
	t.Cleanup(func() {
		s.Kill(t)
		if s.log != nil {
			_ = s.log.Close()
		}
		remove(t, dir)
	})
	s.certificates(t)
	if s.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	s.give(t)
	if dialect == Postgres {
		s.Socket = dir
		s.run(t, postgresBinary(t, "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
		s.hba(t)
	} else {
		s.Socket = filepath.Join(dir, "s")
		s.run(t, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	}
	s.Start(t)
	return s
}

// remove tries again while processes of a killed server still write.
func remove(t testing.TB, dir string) {
	for deadline := time.Now().Add(startWithin); ; time.Sleep(50 * time.Millisecond) {
		err := os.RemoveAll(dir)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Error(err)
			return
		}
	}
}

// Start starts a server that was killed, with further arguments.
func (s *Server) Start(t testing.TB, args ...string) {
	t.Helper()
	for deadline := time.Now().Add(startWithin); ; time.Sleep(50 * time.Millisecond) {
		if s.ended() { // not started, or it met what a killed one left behind for a moment
			s.spawn(t, args)
		}
		out, err := s.client("SELECT 1").CombinedOutput()
		if err == nil && !s.ended() {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(s.log.Name())
			t.Fatalf("%s does not serve within %s: %s\n%s", s.Dialect, startWithin, out, log)
		}
	}
}

// ended reports whether no server runs.
func (s *Server) ended() bool {
	if s.cmd == nil {
		return true
	}
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

func (s *Server) spawn(t testing.TB, args []string) {
	t.Helper()
	cmd, exited := s.command(s.binary(t), append(s.arguments(), args...)...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", s.Dialect, err)
	}
	s.cmd, s.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // killed, or it said why in its log
		close(exited)
	}()
}

func (s *Server) binary(t testing.TB) string {
	if s.Dialect == Postgres {
		return postgresBinary(t, "postgres")
	}
	for _, path := range []string{"/usr/sbin/mariadbd", "mariadbd"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatal("no mariadbd: run tools/setup.sh test")
	return ""
}

// arguments keep no promise against a power failure: a kill is what is tried.
func (s *Server) arguments() []string {
	data, cert, key, ca := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "cert"), filepath.Join(s.dir, "key"), filepath.Join(s.dir, "ca")
	if s.Dialect == Postgres {
		return []string{"-D", data, "-k", s.dir, "-h", "localhost", "-p", strconv.Itoa(int(s.Port)), "-c", "fsync=off", "-c", "ssl=on",
			"-c", "ssl_cert_file=" + cert, "-c", "ssl_key_file=" + key, "-c", "ssl_ca_file=" + ca, "-c", "shared_buffers=16MB", "-c", "max_connections=30"}
	}
	return []string{"--no-defaults", "--datadir=" + data, "--socket=" + s.Socket, "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(int(s.Port)),
		"--pid-file=" + filepath.Join(s.dir, "pid"), "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M", "--skip-name-resolve",
		"--ssl-cert=" + cert, "--ssl-key=" + key, "--ssl-ca=" + ca}
}

// hba lets the socket in, and loopback with a password only.
func (s *Server) hba(t testing.TB) {
	t.Helper()
	rules := "local all all trust\nhostssl all certified all scram-sha-256 clientcert=verify-ca\nhost all all all scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(s.dir, "data", "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	s.give(t)
}

// Kill ends the server at once, as a power failure of the process.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.ended() {
		return
	}
	// The others of PostgreSQL's processes notice, and end a moment later.
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("kill %s: %v", s.Dialect, err)
	}
	<-s.exited
	s.cmd = nil
}

// Exec runs statements as the administrator does, through the server's own
// client, in a database ("" is the first).
func (s *Server) Exec(t testing.TB, database, sql string) string {
	t.Helper()
	cmd := s.client("", database)
	cmd.Stdin = strings.NewReader(sql)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %.500s: %v: %s", s.Dialect, sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

// client asks, or reads statements from its input.
func (s *Server) client(sql string, database ...string) *exec.Cmd {
	var db string
	if len(database) > 0 {
		db = database[0]
	}
	var args []string
	if s.Dialect == Postgres {
		if db == "" {
			db = "postgres"
		}
		args = []string{"psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-h", s.Socket, "-p", strconv.Itoa(int(s.Port)), "-U", "postgres", "-d", db}
		if sql != "" {
			args = append(args, "-c", sql)
		}
	} else {
		args = []string{"mariadb", "--no-defaults", "-N", "-B", "--default-character-set=utf8mb4", "-S", s.Socket, "-u", "root"}
		if sql != "" {
			args = append(args, "-e", sql)
		}
		if db != "" {
			args = append(args, db)
		}
	}
	return s.command(args[0], args[1:]...)
}

func (s *Server) run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := s.command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s (of tools/setup.sh test): %v: %s", name, err, out)
	}
}

// command runs as nobody, when this is root, with nothing of our environment.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = s.dir, []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "HOME=" + s.dir, "TMPDIR=" + s.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// give gives the directory to who the server runs as.
func (s *Server) give(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	err := filepath.Walk(s.dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// postgresBinary finds what Debian keeps apart for each version.
func postgresBinary(t testing.TB, name string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		t.Fatalf("no %s: run tools/setup.sh test", name)
	}
	return found[len(found)-1]
}

func freePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(fmt.Errorf("address is a %T", l.Addr()))
	}
	return uint16(addr.Port)
}
