//go:build !amd64

package evasion

import "errors"

func traceInto(*place) error { return errors.ErrUnsupported }
