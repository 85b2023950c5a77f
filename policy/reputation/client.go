package reputation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"snitch/monitor/event"
)

// Bounds of a conversation with the server.
const (
	lookWithin   = time.Minute
	uploadWithin = 15 * time.Minute
	maxResponse  = 8 << 20  // a file that is known for long has many names
	maxDirect    = 32 << 20 // larger files go to an address that the server names
	maxRest      = 24 * time.Hour
)

// client speaks version 3 of VirusTotal's interface with one server.
type client struct {
	base *url.URL
	key  string
	http *http.Client
}

func newClient(s Server) (*client, error) {
	base, err := CheckURL(s.URL)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(s.CA) > 0 {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(s.CA) {
			return nil, errors.New("no certificate in the file of ca")
		}
	}
	return &client{base: base, key: s.Key, http: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: cfg, TLSHandshakeTimeout: 20 * time.Second, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: 90 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// CheckURL reads the address of a server: https, or http on this machine.
func CheckURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("%q is no address like https://www.virustotal.com", s)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%q is not https: the key would be readable on the way", s)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// look asks what is known of a digest.
func (c *client) look(ctx context.Context, sha event.Digest) reply {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	status, body, fault := c.do(ctx, http.MethodGet, c.base.JoinPath("api", "v3", "files", sha.String()), nil, "", 0)
	if fault != nil {
		return *fault
	}
	if status == http.StatusNotFound {
		return reply{Answer: Answer{SHA256: sha, Verdict: event.ReputationNotFound}}
	}
	var known struct {
		Data struct {
			Attributes struct {
				SHA256 string            `json:"sha256"`
				Stats  map[string]uint32 `json:"last_analysis_stats"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &known); err != nil {
		return reply{Kind: kindAway, Error: "the server's answer is not understood"}
	}
	at := known.Data.Attributes
	if at.SHA256 != "" && at.SHA256 != sha.String() {
		return reply{Kind: kindAway, Error: "the server answers about another file"}
	}
	return reply{Answer: verdictOf(sha, at.Stats)}
}

func verdictOf(sha event.Digest, stats map[string]uint32) Answer {
	a := Answer{SHA256: sha, Malicious: stats["malicious"], Suspicious: stats["suspicious"], Engines: stats["malicious"] + stats["suspicious"] + stats["harmless"] + stats["undetected"]}
	switch {
	case a.Malicious > 0:
		a.Verdict = event.ReputationMalicious
	case a.Suspicious > 0:
		a.Verdict = event.ReputationSuspicious
	case a.Engines > 0:
		a.Verdict = event.ReputationClean
	default:
		a.Verdict = event.ReputationUploaded // it has the file, and nobody looked at it yet
	}
	return a
}

// upload gives a file of size bytes away, if it is the one with this digest.
func (c *client) upload(ctx context.Context, sha event.Digest, size int64, file io.Reader) reply {
	ctx, cancel := context.WithTimeout(ctx, uploadWithin)
	defer cancel()
	to := c.base.JoinPath("api", "v3", "files")
	if size > maxDirect {
		var fault *reply
		if to, fault = c.place(ctx); fault != nil {
			return *fault
		}
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if _, err := w.CreateFormFile("file", sha.String()); err != nil { // its own name says more than the server needs
		return reply{Kind: kindUpload, Error: err.Error()}
	}
	head := form.Len()
	if err := w.Close(); err != nil {
		return reply{Kind: kindUpload, Error: err.Error()}
	}
	begin, end := form.Bytes()[:head], form.Bytes()[head:]
	body := io.MultiReader(bytes.NewReader(begin), &checked{r: file, sum: sha256.New(), want: sha}, bytes.NewReader(end))
	status, _, fault := c.do(ctx, http.MethodPost, to, body, w.FormDataContentType(), int64(len(begin)+len(end))+size)
	switch {
	case fault != nil:
		return *fault
	case status == http.StatusNotFound:
		return reply{Kind: kindUpload, Error: "the server takes no files"}
	}
	return reply{Answer: Answer{SHA256: sha, Verdict: event.ReputationUploaded}}
}

// place asks where a large file goes. It must be the same server.
func (c *client) place(ctx context.Context) (*url.URL, *reply) {
	_, body, fault := c.do(ctx, http.MethodGet, c.base.JoinPath("api", "v3", "files", "upload_url"), nil, "", 0)
	if fault != nil {
		return nil, fault
	}
	var where struct {
		Data string `json:"data"`
	}
	u, err := (*url.URL)(nil), json.Unmarshal(body, &where)
	if err == nil {
		u, err = url.Parse(where.Data)
	}
	if err != nil || u.Scheme != c.base.Scheme || u.Host != c.base.Host || u.User != nil {
		return nil, &reply{Kind: kindUpload, Error: "the server names a place for large files that is not its own"}
	}
	return u, nil
}

// errOtherFile ends an upload before its last byte: the server has no whole file.
var errOtherFile = errors.New("the file is not the one that ran")

// checked hands on a file, and fails at its end when it is another one.
type checked struct {
	r    io.Reader
	sum  hash.Hash
	want event.Digest
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && event.Digest(c.sum.Sum(nil)) != c.want {
		return n, errOtherFile
	}
	return n, err
}

// do sends a request. A status other than 200 and 404 is a fault.
func (c *client) do(ctx context.Context, method string, to *url.URL, body io.Reader, kind string, size int64) (int, []byte, *reply) {
	req, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return 0, nil, &reply{Kind: kindAway, Error: err.Error()}
	}
	req.Header.Set("x-apikey", c.key)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, errOtherFile) {
		return 0, nil, &reply{Kind: kindUpload, Error: errOtherFile.Error()}
	}
	if err != nil {
		return 0, nil, &reply{Kind: kindAway, Error: err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err == nil && len(b) > maxResponse {
		err = errors.New("the server's answer is too long")
	}
	if err != nil {
		return 0, nil, &reply{Kind: kindAway, Error: err.Error()}
	}
	if fault := faultOf(resp); fault != nil {
		return 0, nil, fault
	}
	return resp.StatusCode, b, nil
}

func faultOf(resp *http.Response) *reply {
	fault := &reply{Error: fmt.Sprintf("the server answers %d", resp.StatusCode)}
	if n, err := strconv.ParseInt(resp.Header.Get("Retry-After"), 10, 32); err == nil && n > 0 {
		fault.After = min(n, int64(maxRest/time.Second))
	}
	switch code := resp.StatusCode; {
	case code == http.StatusOK || code == http.StatusNotFound:
		return nil
	case code == http.StatusTooManyRequests:
		fault.Kind = kindQuota
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		fault.Kind = kindKey
	case code == http.StatusRequestEntityTooLarge || code == http.StatusBadRequest || code == http.StatusConflict:
		fault.Kind = kindUpload
	default:
		fault.Kind = kindAway
	}
	return fault
}
