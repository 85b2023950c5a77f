// Package gate decides whom the web interface answers.
//
// Who asks must be known: over TCP by a cookie that a one-time token was
// changed for, over a unix socket by the credentials of the peer. A request
// must be meant for us (its Host is an address, localhost, or a name we were
// given: a foreign name that was made to lead here is answered 421) and come
// from our own pages (Origin and Sec-Fetch-Site).
//
// A cookie is sent to every port of its host. On a machine with several users
// another's server on another port could be shown ours, so a session also
// remembers which user's program signed in, as the kernel knows it, and no
// other user's program can use it.
//
// Gate is safe for concurrent use.
package gate
