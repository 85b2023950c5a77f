// Package notifytest gives tests a person's desktop: a runtime directory,
// logind's files, a real dbus-daemon and a notification server that tells what
// it was shown.
//
// All of it lies in a mount namespace of its own, whose /run is empty but for
// the person: desktops of several tests, and those of whoever sits before the
// machine, do not meet. What is to see the desktop is started inside it with
// Enter. Tests that use it run as root, and their TestMain runs Commands.
package notifytest
