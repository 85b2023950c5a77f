package suite

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"snitch/policy/report"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"` // seconds
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string       `xml:"name,attr"`
	Class   string       `xml:"classname,attr"` // the file: what CI groups by
	File    string       `xml:"file,attr,omitempty"`
	Line    int          `xml:"line,attr,omitempty"`
	Time    string       `xml:"time,attr"`
	Failure *junitDetail `xml:"failure"`
	Error   *junitDetail `xml:"error"`
	Skipped *struct{}    `xml:"skipped"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes a run in the XML that CI servers read: a suite for each file of
// tests, and one for what else failed the run.
func JUnit(w io.Writer, place report.Place, r *Report) error {
	doc := junitSuites{Name: "snitch policy test", Time: seconds(r.Elapsed.Seconds())}
	for i := range r.Results {
		res := &r.Results[i]
		s := doc.suite(place.Path(res.Pos.File))
		s.Cases = append(s.Cases, junitOf(place, res))
	}
	for _, f := range r.Problems {
		s := doc.suite("policy")
		s.Cases = append(s.Cases, junitCase{Name: f.Check + " " + f.Pos.File, Class: "policy", File: place.Path(f.Pos.File), Time: seconds(0),
			Failure: &junitDetail{Message: f.Message, Type: f.Check, Text: related(place, f)}})
	}
	doc.count()
	text, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("encode JUnit report: %w", err)
	}
	return write(w, xml.Header+string(text)+"\n")
}

func junitOf(place report.Place, r *Result) junitCase {
	c := junitCase{Name: r.Name, Class: place.Path(r.Pos.File), File: place.Path(r.Pos.File), Line: r.Pos.Line, Time: seconds(r.Elapsed.Seconds())}
	detail := &junitDetail{Message: r.Message(), Type: CheckTest, Text: strings.Join(details(place, r), "\n")}
	switch {
	case r.Skipped:
		c.Skipped = &struct{}{}
	case r.Err != "":
		c.Error = detail
	case !r.Passed():
		c.Failure = detail
	}
	return c
}

// suite is the one with this name; results of a file stand together.
func (d *junitSuites) suite(name string) *junitSuite {
	if n := len(d.Suites); n == 0 || d.Suites[n-1].Name != name {
		d.Suites = append(d.Suites, junitSuite{Name: name, Time: seconds(0)})
	}
	return &d.Suites[len(d.Suites)-1]
}

func (d *junitSuites) count() {
	for i := range d.Suites {
		s := &d.Suites[i]
		total := 0.0
		for _, c := range s.Cases {
			s.Tests++
			if c.Failure != nil {
				s.Failures++
			}
			if c.Error != nil {
				s.Errors++
			}
			if c.Skipped != nil {
				s.Skipped++
			}
			var t float64
			if _, err := fmt.Sscanf(c.Time, "%f", &t); err == nil {
				total += t
			}
		}
		s.Time = seconds(total)
		d.Tests, d.Failures, d.Errors = d.Tests+s.Tests, d.Failures+s.Failures, d.Errors+s.Errors
	}
}

func seconds(s float64) string { return fmt.Sprintf("%.6f", s) }

// details are the lines that explain a failure.
func details(place report.Place, r *Result) []string {
	out := []string{place.At(r.Pos).String()}
	for _, d := range r.Differences {
		out = append(out, fmt.Sprintf("%s: want %s, got %s", d.Field, orNothing(d.Want), orNothing(d.Got)))
	}
	if r.Err != "" {
		out = append(out, r.Err)
	}
	return append(out, r.why(place)...)
}

func related(place report.Place, f report.Finding) string {
	var lines []string
	for _, r := range f.Related {
		lines = append(lines, fmt.Sprintf("%s: %s", place.At(r.Pos), r.Message))
	}
	return strings.Join(lines, "\n")
}

func write(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
