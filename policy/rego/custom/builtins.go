package custom

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowed are the built-in functions that modules may call: pure ones, whose
// answer depends on their arguments alone. What reads a clock, a network, an
// environment, keys or chance is not among them, nor what parses code.
var allowed = []string{
	// comparison and arithmetic
	"assign", "eq", "equal", "neq", "lt", "lte", "gt", "gte", "plus", "minus", "mul", "div", "rem", "abs", "ceil", "floor", "round",
	"bits.and", "bits.or", "bits.xor", "bits.negate", "bits.lsh", "bits.rsh", "numbers.range", "numbers.range_step",
	// collections
	"and", "or", "count", "sum", "product", "min", "max", "sort", "union", "intersection", "walk",
	"array.concat", "array.flatten", "array.reverse", "array.slice", "graph.reachable", "graph.reachable_paths",
	"object.filter", "object.get", "object.keys", "object.remove", "object.subset", "object.union", "object.union_n",
	"json.filter", "json.patch", "json.remove", "internal.member_2", "internal.member_3",
	// text
	"concat", "contains", "endswith", "format_int", "indexof", "indexof_n", "lower", "replace", "split", "sprintf", "startswith",
	"strings.any_prefix_match", "strings.any_suffix_match", "strings.count", "strings.replace_n", "strings.reverse", "strings.split_n", "substring",
	"trim", "trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix", "upper", "internal.template_string",
	"glob.match", "glob.quote_meta", "regex.match", "regex.is_valid", "regex.replace", "regex.split", "regex.find_n",
	"regex.find_all_string_submatch_n", "regex.globs_match", "regex.template_match",
	// addresses and versions
	"net.cidr_contains", "net.cidr_contains_matches", "net.cidr_intersects", "net.cidr_is_valid", "net.cidr_merge", "net.cidr_overlap",
	"semver.compare", "semver.is_valid", "units.parse", "units.parse_bytes", "uuid.parse", "uri.is_valid", "uri.parse",
	// encodings and digests
	"base64.decode", "base64.encode", "base64.is_valid", "base64url.decode", "base64url.encode", "base64url.encode_no_pad", "hex.decode", "hex.encode",
	"json.is_valid", "json.marshal", "json.unmarshal", "urlquery.decode", "urlquery.decode_object", "urlquery.encode", "urlquery.encode_object",
	"crypto.sha256", "crypto.sha1", "crypto.md5",
	// types
	"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name", "to_number",
}

// testOnly is what OPA's test runner writes into tests.
const testOnly = "internal.test_case"

// capabilities are those of this version of OPA without what is not allowed.
func capabilities() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))
	caps.Builtins = slices.DeleteFunc(caps.Builtins, func(b *ast.Builtin) bool {
		return b.Name != testOnly && !slices.Contains(allowed, b.Name)
	})
	caps.AllowNet = []string{}
	return caps
}

// refused is the name of the built-in that ref names, if it is not allowed.
func refused(ref ast.Ref) string {
	for name := ref.String(); name != ""; {
		if ast.BuiltinMap[name] != nil {
			if slices.Contains(allowed, name) {
				return ""
			}
			return name
		}
		at := strings.LastIndexAny(name, ".[")
		if at < 0 {
			return ""
		}
		name = name[:at]
	}
	return ""
}
