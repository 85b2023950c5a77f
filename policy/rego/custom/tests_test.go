package custom

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"snitch/policy/rule"
)

const goodTest = `package snitch.custom.good_test

import data.snitch.custom.good

test_mail if "mail" in good.deny with input.to.port as 25

test_other if count(good.deny) == 0 with input.to.port as 26

test_wrong if "mail" in good.deny with input.to.port as 26

test_list if data.lists.ads["x.example"] with data.lists.ads as {"x.example": true}

test_slow if {
	some a in numbers.range(1, 5000)
	some b in numbers.range(1, 5000)
	a * b == -1
}

test_error if to_number("x") == 1

todo_test_later if false

test_cases[note] if {
	some note, tc in {"five": 25, "six": 26}
	"mail" in good.deny with input.to.port as tc
}
`

// TestRegoTests compares whole results of a test file.
func TestRegoTests(t *testing.T) {
	modules := []rule.Module{module("good.rego", good), module("good_test.rego", goodTest)}
	lists := listMap([]*rule.List{rule.NewList("ads", nil)})
	got, err := Test(t.Context(), modules, lists, TestOptions{Timeout: 300 * time.Millisecond, Options: Options{Strict: true}})
	if err != nil {
		t.Fatal(err)
	}
	at := func(line int) rule.Position { return rule.Position{File: "good_test.rego", Line: line, Col: 1} }
	want := []TestResult{
		{Package: "good_test", Name: "test_mail", Pos: at(5), Passed: true},
		{Package: "good_test", Name: "test_other", Pos: at(7), Passed: true},
		{Package: "good_test", Name: "test_wrong", Pos: at(9), Message: "not true"},
		{Package: "good_test", Name: "test_list", Pos: at(11), Passed: true},
		{Package: "good_test", Name: "test_slow", Pos: at(13), Message: "took longer than 300ms"},
		{Package: "good_test", Name: "test_error", Pos: at(19), Message: "good_test.rego:19:15: to_number: strconv.ParseFloat: parsing \"x\": invalid syntax"},
		{Package: "good_test", Name: "todo_test_later", Pos: at(21), Skipped: true},
		{Package: "good_test", Name: "test_cases", Pos: at(23), Message: "not true for six"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(TestResult{}, "Took")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	some, err := Test(t.Context(), modules, lists, TestOptions{Run: "test_mail|test_other"})
	if err != nil || len(some) != 2 {
		t.Errorf("chosen tests: %v, %v", some, err)
	}
}

// TestRegoTestsRefused names what is wrong with a test file.
func TestRegoTestsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"package snitch.custom.good_test\n\ntest_x if data.snitch.custom.other.deny":                                "good_test.rego:3:11: data.snitch.custom.other.deny: only",
		"package snitch.custom.good_test\n\ntest_x if time.now_ns() > 1":                                            "good_test.rego:3:11: built-in function time.now_ns",
		"package snitch.custom.good_test\n\ntest_x if data.snitch.custom.good.nope == 1":                            "good_test.rego:3:11: data.snitch.custom.good.nope: the package has no nope",
		"package snitch.custom.good_test\n\ntest_x if data.snitch.custom.good.deny[\"x\"] == 1 with input.too as 1": "good_test.rego:3:",
		"package other_test\n\ntest_x if true":                                                                      "good_test.rego:1:1: package other_test",
	} {
		_, err := Test(t.Context(), []rule.Module{module("good.rego", good), module("good_test.rego", text)}, nil, TestOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
	if _, err := Test(t.Context(), []rule.Module{module("good.rego", good)}, nil, TestOptions{Run: "("}); err == nil {
		t.Error("a bad regular expression is no error")
	}
}
