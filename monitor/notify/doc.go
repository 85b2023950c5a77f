// Package notify tells people on their desktops what policy found, by the
// freedesktop.org notification service of their session.
//
// Promise. Nobody is flooded and nothing is lost: a storm becomes a handful of
// toasts and one that counts the rest, repeats replace what is shown, and the
// record has every alert whether it was shown or not. Nothing here waits in the
// caller: Alert and Trouble put into a bounded queue and count what does not fit.
// A machine without desktops costs nothing but a look at a directory for each
// alert.
//
// Who sees what. An alert about a person's process goes to that person; one
// about the system's processes goes to everybody who has a desktop. Troubles
// (rules that do not load) go to everybody.
//
// Processes. The Notifier runs in the core, as root, and never speaks D-Bus.
// Each desktop has a helper (Helper) that runs as its person, starts with the
// first alert, and gets finished texts over a socket. What a helper says is
// hostile: its person could have stopped, killed or replaced it.
//
// Terms. A toast is one notification on a screen. A group is the alerts of one
// rule about one program: one toast. The rest is what no toast was spent on. A
// desk is what the core knows of one person's desktop. Presence is a session
// with a seat or a display, and a message bus in the person's runtime directory.
//
// Owner. Notifier.Run owns the desks; each desk's goroutine owns its connection;
// a plan is guarded by the mutex of its desk.
package notify
