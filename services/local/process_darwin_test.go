package local

import "golang.org/x/sys/unix"

const hasDeathSignal = false

// sessionOf returns the session of a process.
func sessionOf(pid int) (int, error) { return unix.Getsid(pid) }
