package rego

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// capabilities are what the generated module needs of OPA.
func capabilities() *ast.Capabilities {
	return ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))
}
