package report

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
)

const (
	sarifSchema  = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	sarifVersion = "2.1.0"
	// sarifFingerprint names how results are recognised when their lines move.
	sarifFingerprint = "snitch/v1"
)

// Tool is the program that made a report.
type Tool struct {
	Name    string
	Version string
	Checks  []Check // every check of a finding must be among them
}

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool    sarifTool     `json:"tool"`
	Results []sarifResult `json:"results"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID    string    `json:"id"`
	Short sarifText `json:"shortDescription"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Level        string            `json:"level"`
	Message      sarifText         `json:"message"`
	Locations    []sarifLocation   `json:"locations,omitempty"`
	Related      []sarifLocation   `json:"relatedLocations,omitempty"`
	Fingerprints map[string]string `json:"partialFingerprints"`
}

type sarifLocation struct {
	Physical sarifPhysical `json:"physicalLocation"`
	Message  *sarifText    `json:"message,omitempty"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   *sarifRegion  `json:"region,omitempty"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine   int `json:"startLine"`
	StartColumn int `json:"startColumn,omitempty"`
}

var sarifLevels = map[Level]string{Error: "error", Warning: "warning", Info: "note"}

// SARIF writes findings as one run of tool, in SARIF 2.1.0 (OASIS), which code
// hosts show beside the lines.
func SARIF(w io.Writer, place Place, tool Tool, findings []Finding) error {
	driver := sarifDriver{Name: tool.Name, Version: tool.Version, Rules: []sarifRule{}}
	for _, c := range tool.Checks {
		driver.Rules = append(driver.Rules, sarifRule{ID: c.ID, Short: sarifText{c.Short}})
	}
	results := []sarifResult{}
	for _, f := range findings {
		i := slices.IndexFunc(tool.Checks, func(c Check) bool { return c.ID == f.Check })
		if i < 0 {
			return fmt.Errorf("write SARIF: check %q is not in the catalogue", f.Check)
		}
		results = append(results, newSARIFResult(place, f, i))
	}
	return writeIndented(w, sarifLog{Schema: sarifSchema, Version: sarifVersion,
		Runs: []sarifRun{{Tool: sarifTool{driver}, Results: results}}})
}

func newSARIFResult(place Place, f Finding, index int) sarifResult {
	r := sarifResult{RuleID: f.Check, RuleIndex: index, Level: sarifLevels[f.Level], Message: sarifText{f.Message}}
	if f.Pos.File != "" {
		r.Locations = []sarifLocation{{Physical: sarifAt(place, f)}}
	}
	for _, o := range f.Related {
		r.Related = append(r.Related, sarifLocation{Physical: sarifAt(place, Finding{Pos: o.Pos}), Message: &sarifText{o.Message}})
	}
	sum := sha256.Sum256([]byte(f.Check + "\x00" + f.Pos.File + "\x00" + f.Rule + "\x00" + f.Message))
	r.Fingerprints = map[string]string{sarifFingerprint: hex.EncodeToString(sum[:16])}
	return r
}

func sarifAt(place Place, f Finding) sarifPhysical {
	at := sarifPhysical{Artifact: sarifArtifact{URI: (&url.URL{Path: place.Path(f.Pos.File)}).String()}}
	if f.Pos.Line > 0 {
		at.Region = &sarifRegion{StartLine: f.Pos.Line, StartColumn: f.Pos.Col}
	}
	return at
}

// writeIndented writes one JSON document for people and machines.
func writeIndented(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	return write(w, string(b)+"\n")
}

func write(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
