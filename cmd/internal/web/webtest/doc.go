// Package webtest drives the web interface in headless Chromium, for tests and
// for the pictures of the documentation. Whatever the browser complains about
// (errors on the console, exceptions, violations of the content security
// policy) is collected.
package webtest
