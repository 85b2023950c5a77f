// Package process keeps the table of process images: who a ProcessID is, which
// file it executed, which script it runs, who forked it and where it is
// accounted (cgroup, systemd unit, container, namespaces).
//
// Its promise: the facts of one process are never shown for another. A number
// in /proc is believed only through a descriptor of /proc/PID whose start time
// agrees with the ProcessID, and the file behind /proc/PID/exe is believed for
// an image only when it is the file that the kernel reported for that exec.
// What cannot be known is said to be unknown, and counted.
//
// Terms. An image is a process between two execs. A fork makes an image that
// shares its parent's facts; an exec makes one with facts of its own and the
// same parent. The parent is the image that forked, also after it died,
// exec'd or lost the child to a reaper. A guessed image is one that was found
// in /proc as an ancestor: its start is known to a clock tick only, until the
// kernel names it.
//
// One image can be read as another in one case: when the kernel's exec record
// was lost (which is counted), /proc shows the later image, and only the start
// time is left to compare. The image before it is then corrected as soon as any
// later record shows the mistake.
//
// Events come from one goroutine in the order of the ring; all methods may be
// called from any goroutine. Nothing here waits on another process's memory or
// file system for longer than a fixed, short time.
package process
