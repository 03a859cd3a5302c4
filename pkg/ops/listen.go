package ops

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ErrPortInUse is in the error of Listen when another process has the port.
var ErrPortInUse = errors.New("port in use")

// listenError is a sentence for the user around the system's error.
type listenError struct {
	sentence string
	causes   []error
}

func (e *listenError) Error() string   { return e.sentence }
func (e *listenError) Unwrap() []error { return e.causes }

// explainListen says in a sentence why addr, which came from flag, cannot be listened on, and what to do.
func explainListen(flag, addr string, err error) error {
	host, port, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return &listenError{fmt.Sprintf("%s: want host:port, such as 127.0.0.1:5000", quoteFlag(flag, addr)), []error{err}}
	}
	place := fmt.Sprintf("port %s on %s", port, host)
	if host == "" {
		place = fmt.Sprintf("port %s on all addresses", port)
	}
	another := "choose another"
	if flag != "" {
		another += " with " + flag
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &listenError{fmt.Sprintf("%s is in use by another process: stop it or %s", place, another), []error{ErrPortInUse, err}}
	case errors.Is(err, syscall.EACCES):
		return &listenError{fmt.Sprintf("%s needs rights that this process lacks: %s, above 1023", place, another), []error{err}}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return &listenError{fmt.Sprintf("%s: no interface of this machine has the address %s: %s", quoteFlag(flag, addr), host, another), []error{err}}
	default:
		return fmt.Errorf("%s: want host:port, such as 127.0.0.1:5000: %w", quoteFlag(flag, addr), err)
	}
}

func quoteFlag(flag, value string) string {
	if flag == "" {
		return fmt.Sprintf("listen on %q", value)
	}
	return fmt.Sprintf("%s %q", flag, value)
}
