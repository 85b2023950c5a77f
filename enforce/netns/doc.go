// Package netns makes sockets in other network namespaces: a socket belongs to
// the namespace that its thread was in. It promises that no other goroutine ever
// runs on a thread that is elsewhere.
package netns
