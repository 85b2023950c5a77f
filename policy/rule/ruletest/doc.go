// Package ruletest makes random sets of rules and random facts for property
// tests of the packages that evaluate, explain and change rules. Its alphabets
// are small, so that a condition is hit, nearly missed and absent about equally
// often. Every Set is one that the reader of package rule could have read.
//
// A Gen with the same seed makes the same values. It is not safe for
// concurrent use.
package ruletest
